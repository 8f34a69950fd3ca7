"""Which beads a list shows, and in which order; the same for lists and for acts on many beads."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from loom.domain.bead import Bead

MAX_TEXT = 200


class BeadSort(StrEnum):
    """The order of a list; beads that are equal in it come in the order of their ids."""

    NEWEST = "-created"
    OLDEST = "created"
    LATEST = "-updated"
    STALEST = "updated"
    FIRST = "priority"
    """By priority, 0 first; among equals the oldest first."""
    LAST = "-priority"

    @property
    def falling(self) -> bool:
        """Whether the greatest comes first."""
        return self.value.startswith("-")


@dataclass(frozen=True, slots=True)
class BeadFilter:
    """Which beads; what is empty or None filters nothing.

    projects, states, priorities: any of them. text: stands in the id or the title, however it is
    written. reason: stands in the reason of a bead that is blocked, or ended badly. since: that
    moment or later; until: before it. assignee: who took it by hand. agent: whose attempt runs.
    """

    projects: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    resolution: str = ""
    priorities: tuple[int, ...] = ()
    parent: str = ""
    text: str = ""
    reason: str = ""
    assignee: str = ""
    agent: str = ""
    created_since: datetime | None = None
    created_until: datetime | None = None
    updated_since: datetime | None = None
    updated_until: datetime | None = None

    def shows(self, bead: Bead, agent: str = "") -> bool:
        """Whether it is one of them. agent: whose attempt at it runs."""
        words = f"{bead.id} {bead.title}".lower()
        return (
            (not self.projects or bead.project_id in self.projects)
            and (not self.states or bead.state.value in self.states)
            and (not self.resolution or bead.resolution == self.resolution)
            and (not self.priorities or bead.priority in self.priorities)
            and (not self.parent or bead.parent == self.parent)
            and self.text.lower() in words
            and self.reason.lower() in bead.reason.lower()
            and (not self.assignee or bead.assignee == self.assignee)
            and (not self.agent or agent == self.agent)
            and _within(bead.created_at, self.created_since, self.created_until)
            and _within(bead.updated_at, self.updated_since, self.updated_until)
        )


def _within(moment: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or moment >= since) and (until is None or moment < until)


ALL = BeadFilter()
