"""What is to be done, as options of `loom bead file`: the context that they make together."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, TypeVar

import click

from loom.cli.argv import Argv
from loom.domain.recipe import STEPS

_STEPS = (*STEPS, "verify")
F = TypeVar("F", bound=Callable[..., Any])


def _steps(
    _ctx: click.Context, _param: click.Parameter, text: str | None
) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if unknown := [name for name in names if name not in _STEPS]:
        raise click.BadParameter(f"{unknown[0]!r} is not one of {', '.join(_STEPS)}")
    if not names:
        raise click.BadParameter("it names no step")
    return names


_OPTIONS = (
    click.option(
        "--patch", type=click.File("rb"), help="A unified diff to apply; '-' reads it here."
    ),
    click.option(
        "--actions", type=click.File("rb"), help="A JSON list of actions to do; '-' reads it here."
    ),
    click.option("--verify", is_flag=True, help="Change nothing: build, lint and test what is."),
    click.option("--way", help="How it is worked on: patch, actions, command, verify, your own."),
    click.option(
        "--steps", callback=_steps, help="Only these, as 'lint,test', or 'verify' for all that "
        "prove it; without commit, no change is kept.",
    ),
    click.option(
        "--test", type=Argv(), default="",
        help="The command that proves it, instead of the project's.",
    ),
    click.option(
        "--timeout", type=int, help="Seconds for a command, instead of the project's."
    ),
    click.option("--context", default="", help="A JSON object with more for the agent."),
)  # fmt: skip


def options(command: F) -> F:
    """Give a command the options that context() takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def context(
    *, patch: BinaryIO | None, actions: BinaryIO | None, verify: bool, way: str | None,
    steps: Sequence[str] | None, test: Sequence[str], timeout: int | None, context: str,
) -> dict[str, Any]:  # fmt: skip
    """The bead's context; a usage error where the options contradict each other."""
    if patch and actions:
        raise click.UsageError(
            "--patch and --actions: put the patch into an action of the type apply_patch"
        )
    if verify and (patch or actions or way):
        raise click.UsageError(
            "--verify changes nothing, so it goes without --patch, --actions and --way; to try a "
            "change without keeping it: --steps verify"
        )
    facts: dict[str, Any] = as_json(context or "{}", dict, "--context")
    if way or verify:
        facts["way"] = way or "verify"
    if steps:
        facts["steps"] = list(steps)
    if patch:
        facts["patch"] = _text(patch.read(), "--patch")
    if actions:
        facts["actions"] = as_json(_text(actions.read(), "--actions"), list, "--actions")
    if test:
        facts["test_command"] = list(test)
    if timeout is not None:
        facts["timeout_s"] = timeout
    return facts


def as_json(text: str, kind: type, hint: str) -> Any:
    """The JSON value in an option; a usage error for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"it is not JSON: {error}", param_hint=hint) from error
    if not isinstance(value, kind):
        wanted = "object" if kind is dict else "list"
        raise click.BadParameter(f"it is not a JSON {wanted}", param_hint=hint)
    return value


def _text(given: bytes, hint: str) -> str:
    """What was given, with its line ends as they are."""
    try:
        return given.decode()
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"it is not UTF-8: {error}", param_hint=hint) from error
