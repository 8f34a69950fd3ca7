"""The repository of a simulation: branches that attempts push to."""

from __future__ import annotations

from dataclasses import dataclass, field

from loom.testing.watched_ledger import Accountant


@dataclass(slots=True)
class Repository:
    """Branches and their commits; a commit is named after the parent it stands on."""

    accountant: Accountant
    guarded: bool
    head: int = 0
    branches: dict[str, str] = field(default_factory=dict)

    def parent(self, bead_id: str) -> int:
        """Where an attempt begins: where pushed work of the bead began, else at the head."""
        pushed = self.branches.get(bead_id)
        return int(pushed.rpartition("@")[2]) if pushed else self.head

    def push(self, bead_id: str, commit: str) -> bool:
        """Make the branch, or find this commit there; False: another one is there."""
        there = self.branches.get(bead_id)
        if there == commit:
            return True
        if there is not None and self.guarded:
            return False
        self.branches[bead_id] = commit
        self.accountant.moves[bead_id] += 1
        if self.accountant.moves[bead_id] > 1:
            self.accountant.violations.append(f"{bead_id}: its branch moved twice")
        return True
