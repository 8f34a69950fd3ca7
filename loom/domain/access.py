"""Who asks, and what they may do: three roles, given everywhere or in single projects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """What somebody may do; each may do what the ones before it may."""

    VIEWER = "viewer"
    """Reads."""
    OPERATOR = "operator"
    """Files beads and steers them: cancel, retry, unblock, replay, drain."""
    ADMIN = "admin"
    """Makes and changes projects, people and tokens."""

    def covers(self, needed: Role) -> bool:
        """Whether who has this role may do what that one may."""
        order = tuple(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. name: as the audit trail tells it. role: in every project, if any.

    projects: roles in single projects, by their ids, beside it.
    """

    name: str
    role: Role | None = None
    projects: Mapping[str, Role] = field(default_factory=dict)

    def may(self, needed: Role, project_id: str = "") -> bool:
        """Whether they may in that project; without a project, whether they may in all of them."""
        if self.role is not None and self.role.covers(needed):
            return True
        here = self.projects.get(project_id) if project_id else None
        return here is not None and here.covers(needed)

    def visible(self) -> frozenset[str] | None:
        """The projects that they may look at; None for all."""
        return None if self.role is not None else frozenset(self.projects)
