"""What an attempt at a bead has to do, read from the bead and its project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loom.domain.bead import Bead
from loom.domain.project import MAX_TIMEOUT_S, Project
from loom.errors import Invalid

MAX_PATCH_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Recipe:
    """The steps of an attempt. patch: empty for none. timeout_s: for the test command.

    soft_timeout_s: after which the test command is asked to end; None: it is never asked.
    """

    patch: bytes
    test_command: tuple[str, ...]
    timeout_s: float
    soft_timeout_s: float | None = None


def read(bead: Bead, project: Project) -> Recipe:
    """The recipe of a bead; raises Invalid saying what in its context cannot be worked from."""
    timeout_s = _seconds(bead.context, "timeout_s") or float(project.timeout_s)
    return Recipe(
        patch=_patch(bead.context),
        test_command=_test_command(bead.context, project),
        timeout_s=timeout_s,
        soft_timeout_s=_soft_timeout_s(bead.context, project, timeout_s),
    )


def _patch(context: Mapping[str, Any]) -> bytes:
    patch = context.get("patch")
    if patch is None:
        return b""
    if not isinstance(patch, str):
        raise Invalid(f"context.patch has to be text, a unified diff; it is {_kind(patch)}")
    encoded = patch.encode(errors="surrogatepass")
    if len(encoded) > MAX_PATCH_BYTES:
        raise Invalid(f"context.patch has {len(encoded)} bytes; the limit is {MAX_PATCH_BYTES}")
    if not encoded.strip():
        return b""
    return encoded if encoded.endswith(b"\n") else encoded + b"\n"


def _test_command(context: Mapping[str, Any], project: Project) -> tuple[str, ...]:
    command = context.get("test_command")
    if command is None:
        if not project.test_command:
            raise Invalid(
                f"nothing says how to test it: neither the bead's context nor the project "
                f"{project.id} has a test_command"
            )
        return project.test_command
    if not isinstance(command, list | tuple) or not all(isinstance(arg, str) for arg in command):
        raise Invalid(
            "context.test_command has to be a list of strings, one for each argument; it is "
            + _kind(command)
        )
    if not command or not command[0]:
        raise Invalid("context.test_command names no program")
    return tuple(command)


def _soft_timeout_s(context: Mapping[str, Any], project: Project, timeout_s: float) -> float | None:
    """The bead's own, which has to leave time before the hard limit; or the project's."""
    own = _seconds(context, "soft_timeout_s")
    if own is not None and own >= timeout_s:
        raise Invalid(
            f"context.soft_timeout_s is {own:g}: it has to be below the {timeout_s:g} s after "
            "which the command is killed"
        )
    if own is None and 0 < project.soft_timeout_s < timeout_s:
        return float(project.soft_timeout_s)
    return own


def _seconds(context: Mapping[str, Any], name: str) -> float | None:
    seconds = context.get(name)
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise Invalid(f"context.{name} has to be a number of seconds; it is {_kind(seconds)}")
    if not 0 < seconds <= MAX_TIMEOUT_S:
        raise Invalid(f"context.{name} is {seconds}: it has to be over 0, up to {MAX_TIMEOUT_S}")
    return float(seconds)


def _kind(value: object) -> str:
    names = {
        type(None): "null", bool: "true or false", int: "a number", float: "a number",
        str: "text", list: "a list of something else", tuple: "a list of something else",
        dict: "an object",
    }  # fmt: skip
    return names.get(type(value), type(value).__name__)
