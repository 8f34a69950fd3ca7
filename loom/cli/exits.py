"""How `loom` ends: an exit code for each kind of trouble, so that scripts can tell them apart."""

from __future__ import annotations

import click

from loom.errors import LoomError

FAILED, USAGE, NOT_FOUND, REFUSED, AWAY = 1, 2, 3, 4, 5
"""2 is click's own, for what was not understood."""
CANCELLED, BLOCKED, LEFT_RUNNING = 6, 7, 130
"""How `loom bead run` ends beside 0 and 1; 130 is what a shell says of Ctrl-C."""


class Failed(click.ClickException):
    """A LoomError as the command says it: its words on standard error, and its exit code."""

    exit_code = FAILED


class NotThere(Failed):
    """There is no such thing."""

    exit_code = NOT_FOUND


class Refused(Failed):
    """Whoever asks is not known, or may not."""

    exit_code = REFUSED


class Away(Failed):
    """What is needed does not answer, or not now."""

    exit_code = AWAY


_KINDS: dict[str, type[Failed]] = {
    "not_found": NotThere,
    "unauthenticated": Refused,
    "forbidden": Refused,
    "unavailable": Away,
    "deadline": Away,
    "exhausted": Away,
}


def failed(error: LoomError) -> Failed:
    """How the command ends for that error."""
    return _KINDS.get(error.code, Failed)(error.detail)
