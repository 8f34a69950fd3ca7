"""Acts on many beads at once: each is decided by itself, and what is refused hinders no other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from loom.domain.listing import ALL, BeadFilter

MAX_BULK = 1_000
"""Beads in one request, which is one transaction."""


class Act(StrEnum):
    """What is done to each."""

    CANCEL = "cancel"
    UNBLOCK = "unblock"
    PRIORITY = "priority"


class Verdict(StrEnum):
    """What became of one."""

    DONE = "done"
    UNCHANGED = "unchanged"
    """It was like that already."""
    REFUSED = "refused"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Bulk:
    """What is asked for. ids: these beads, as far as they are of where's projects; where there are
    no ids, the oldest that where shows.

    priority: of Act.PRIORITY. dry_run: only say what would be.
    """

    act: Act
    ids: tuple[str, ...] = ()
    where: BeadFilter = ALL
    priority: int = 2
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one bead. code, why: of a refusal, as alone it would have been answered."""

    bead_id: str
    verdict: Verdict
    code: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class BulkAnswer:
    """What became of each, in the order of the request. more: the filter shows further ones."""

    done: tuple[Done, ...]
    more: bool = False
