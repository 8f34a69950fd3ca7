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
    """The steps of an attempt. patch: empty for none. timeout_s: for the test command."""

    patch: bytes
    test_command: tuple[str, ...]
    timeout_s: float


def read(bead: Bead, project: Project) -> Recipe:
    """The recipe of a bead; raises Invalid saying what in its context cannot be worked from."""
    return Recipe(
        patch=_patch(bead.context),
        test_command=_test_command(bead.context, project),
        timeout_s=_timeout_s(bead.context, project),
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


def _timeout_s(context: Mapping[str, Any], project: Project) -> float:
    timeout = context.get("timeout_s")
    if timeout is None:
        return float(project.timeout_s)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise Invalid(f"context.timeout_s has to be a number of seconds; it is {_kind(timeout)}")
    if not 0 < timeout <= MAX_TIMEOUT_S:
        raise Invalid(f"context.timeout_s is {timeout}: it has to be over 0, up to {MAX_TIMEOUT_S}")
    return float(timeout)


def _kind(value: object) -> str:
    names = {
        type(None): "null", bool: "true or false", int: "a number", float: "a number",
        str: "text", list: "a list of something else", tuple: "a list of something else",
        dict: "an object",
    }  # fmt: skip
    return names.get(type(value), type(value).__name__)
