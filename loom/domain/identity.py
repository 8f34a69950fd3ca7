"""Ids and the forms they must have."""

from __future__ import annotations

import re

from ulid import ULID

from loom.errors import Invalid

PROJECT_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
"""A project id is a slug: it stands in queue names, routing keys and paths."""

BEAD_ID = re.compile(r"[a-z0-9](?:[a-z0-9_-]|\.(?![.])){0,99}")
"""A bead id stands in git refs, task ids and paths."""


def new_bead_id() -> str:
    """A fresh id that sorts by the time it was made."""
    return f"bd-{str(ULID()).lower()}"


def new_message_id() -> str:
    """A fresh id for one message, result, request or correlation."""
    return str(ULID()).lower()


def check_project_id(value: str) -> str:
    """Return value, or raise Invalid saying what a project id looks like."""
    if not PROJECT_ID.fullmatch(value):
        raise Invalid(
            f"{value[:80]!r} is not a project id: 1 to 63 of a-z, 0-9 and '-', "
            "beginning with a letter or a digit",
            field="project_id",
        )
    return value


def check_bead_id(value: str) -> str:
    """Return value, or raise Invalid saying what a bead id looks like."""
    if not BEAD_ID.fullmatch(value) or value.endswith((".", ".lock")):
        raise Invalid(
            f"{value[:120]!r} is not a bead id: 1 to 100 of a-z, 0-9, '.', '_' and '-', beginning "
            "with a letter or a digit, without '..', not ending in '.' or '.lock'",
            field="bead_id",
        )
    return value
