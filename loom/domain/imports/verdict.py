"""What an import is decided on, and what is decided: as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from loom.domain.bead import Bead
from loom.domain.imports.difference import View
from loom.domain.imports.issue import Issue, Origin, Said
from loom.domain.lifecycle import Resolution, State


class Action(StrEnum):
    """What becomes of one issue."""

    CREATE = "create"
    UPDATE = "update"
    SAME = "same"
    """Nothing changes."""
    CONFLICT = "conflict"
    """Nothing changes, and a person has to decide."""
    SKIP = "skip"
    """It was deleted there, or is no issue."""
    INVALID = "invalid"
    """It breaks a rule."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the issue on a line. changes: of what. remarks: what a person should know."""

    line: int
    action: Action
    external_id: str = ""
    bead_id: str = ""
    title: str = ""
    changes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class New:
    """A bead that is to be made, with its place in the lifecycle."""

    issue: Issue
    origin: Origin
    state: State
    resolution: Resolution | None
    reason: str
    blocked_by: tuple[str, ...]
    parent: str


@dataclass(frozen=True, slots=True)
class Change:
    """What of a bead is to be as it says from now on.

    bead: with its new words and links. ends, starts: it is closed as recorded, or may run.
    """

    bead: Bead
    origin: Origin
    words: bool = False
    ends: str = ""
    starts: bool = False
    comments: tuple[Said, ...] = ()


@dataclass(frozen=True, slots=True)
class Here:
    """What the ledger holds of what a file names.

    origins: by the source's ids; views: by the ids of beads, of those and of all that the file may
    mean. links: who waits for whom, as far as the beads reach; not needed where the file makes no
    new ones.
    """

    project_id: str
    origins: Mapping[str, Origin] = field(default_factory=dict)
    views: Mapping[str, View] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """All that an import does, and what it says of each line."""

    verdicts: tuple[Verdict, ...] = ()
    new: tuple[New, ...] = ()
    changed: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """An issue on a line, or what is wrong there."""

    line: int
    issue: Issue | None = None
    fault: str = ""
