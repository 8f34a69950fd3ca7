"""The options of a project's rules, for `loom project add` and `loom project set`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from loom.cli.argv import Argv
from loom.domain import recipe_file
from loom.domain.rules import Network, Rules, Strategy
from loom.errors import Invalid

F = TypeVar("F", bound=Callable[..., Any])

SIZES = {"memory": "memory_mb", "file": "file_mb", "output": "output_mb", "disk": "disk_mb"}
"""Limits that are sizes, and their rules."""
_SIZE = re.compile(r"(\d+)([MGT])B?", re.IGNORECASE)
_MEGABYTES = {"M": 1, "G": 1024, "T": 1024 * 1024}
_TIME = re.compile(r"(\d+)([smh]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600}


class Limit(click.ParamType[tuple[str, int]]):
    """`memory=2G`, `processes=100` or `cpu=10m`, as the rule's name and its value."""

    name = "limit"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """The rule and its value; a usage error for anything else."""
        if isinstance(value, tuple):
            return value
        name, _, text = str(value).partition("=")
        if name in SIZES and (size := _SIZE.fullmatch(text)):
            return SIZES[name], int(size[1]) * _MEGABYTES[size[2].upper()]
        if name == "cpu" and (time := _TIME.fullmatch(text)):
            return "cpu_s", int(time[1]) * _SECONDS[time[2]]
        if name == "processes" and text.isdecimal():
            return "processes", int(text)
        raise click.BadParameter(
            f"{value!r} is no limit: write one of {', '.join(SIZES)} with a size, as memory=2G; "
            "cpu with a time, as cpu=10m; or processes with a number",
            ctx,
            param,
        )


def options(command: F) -> F:
    """The command with an option for each rule; `given` makes rules of their values."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option(
        "--network",
        type=click.Choice([each.value for each in Network]),
        help="When its commands reach the network.",
    ),
    click.option(
        "--strategy",
        type=click.Choice([each.value for each in Strategy]),
        help="Push to agent/<bead id>, or straight to the default branch.",
    ),
    click.option(
        "--allow-no-tests/--need-tests",
        default=None,
        help="Whether test steps that find no test prove enough.",
    ),
    click.option("--submodules/--no-submodules", default=None, help="Whether they are fetched."),
    click.option(
        "--protocol",
        "protocols",
        type=click.Choice(["file", "https", "ssh"]),
        multiple=True,
        help="One of those by which git may fetch and push; may stand often.",
    ),
    click.option(
        "--scan-secrets/--no-scan-secrets",
        default=None,
        help="Whether a commit that seems to hold a secret is refused.",
    ),
    click.option(
        "--command", "work_command", type=Argv(), help="Its own coding agent; '' takes it away."
    ),
    click.option(
        "--recipe",
        "recipe_path",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A recipe for where the repository has none: TOML, as in .loom.toml.",
    ),
    click.option(
        "--limit", "limits", type=Limit(), multiple=True, help="As memory=2G; may stand often."
    ),
)


def given(
    *, network: str | None, strategy: str | None, allow_no_tests: bool | None,
    submodules: bool | None, protocols: tuple[str, ...], scan_secrets: bool | None,
    work_command: tuple[str, ...] | None,
    recipe_path: Path | None, limits: tuple[tuple[str, int], ...],
) -> dict[str, Any]:  # fmt: skip
    """The rules that were given, as JSON has them; raises Invalid for a recipe that is none."""
    rules: dict[str, Any] = {
        "network": network,
        "strategy": strategy,
        "allow_no_tests": allow_no_tests,
        "submodules": submodules,
        "protocols": list(protocols) or None,
        "scan_secrets": scan_secrets,
        "command": None if work_command is None else list(work_command),
        "recipe": None if recipe_path is None else _recipe(recipe_path),
        "limits": dict(limits) or None,
    }
    return {name: value for name, value in rules.items() if value is not None}


def _recipe(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{path} cannot be read: {error}") from error
    recipe_file.parse_toml(text, path.name)
    return recipe_file.mapping(text, path.name)


def facts(rules: Rules) -> tuple[tuple[str, str], ...]:
    """The rules in words, for `loom project show`."""
    limits = rules.limits
    return (
        ("network", rules.network.value),
        ("strategy", rules.strategy.value),
        ("no tests", "are allowed" if rules.allow_no_tests else "are no success"),
        ("submodules", "fetched" if rules.submodules else "not fetched"),
        ("protocols", ", ".join(rules.protocols)),
        ("secrets", "refused" if rules.scan_secrets else "not looked for"),
        ("command", " ".join(rules.command)),
        ("recipe", json.dumps(dict(rules.recipe)) if rules.recipe else ""),
        (
            "limits",
            f"memory {limits.memory_mb} MB, disk {limits.disk_mb} MB, a file {limits.file_mb} MB, "
            f"output {limits.output_mb} MB, {limits.processes} processes"
            + (f", cpu {limits.cpu_s} s" if limits.cpu_s else ""),
        ),
    )
