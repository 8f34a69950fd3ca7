"""Where a commit goes, and what the repository's answer to its push means."""

from __future__ import annotations

import re
from dataclasses import dataclass

from loom.domain.evidence import FailureClass
from loom.domain.rules import Strategy
from workers import refusals
from workers.command import Ended
from workers.ways.way import WorkFailed

# What git at the other end says when another push came between its look and its write.
_MOVED = re.compile(r"\[rejected\]|failed to update ref|incorrect old value|cannot lock ref")


@dataclass(frozen=True, slots=True)
class Target:
    """The branch that a commit becomes the tip of. expected: what it is before; empty: nothing."""

    strategy: Strategy
    branch: str
    expected: str

    @property
    def ref(self) -> str:
        """Its full name."""
        return f"refs/heads/{self.branch}"

    @property
    def lease(self) -> str:
        """The option that has the push fail unless the branch is as expected.

        It is made, or moved from the parent to its child: never forced. That it is there already
        with this very commit is success.
        """
        return f"--force-with-lease={self.ref}:{self.expected}"


def branch_of(strategy: Strategy, bead_id: str, default_branch: str) -> str:
    """The branch that a bead's work goes to."""
    return default_branch if strategy is Strategy.DIRECT else f"agent/{bead_id}"


def refused(ended: Ended, target: Target, sha: str, *, landed_before: bool) -> WorkFailed:
    """Why the push did not succeed. landed_before: an earlier attempt's commit is there."""
    branch = target.branch
    if ended.timed_out or ended.cancelled:
        return WorkFailed(FailureClass.INFRA, f"{branch} cannot be pushed: {refusals.words(ended)}")
    if landed_before and "[rejected]" in ended.output:
        return WorkFailed(
            FailureClass.INFRA,
            f"an earlier attempt's push of {branch} landed meanwhile: the next attempt goes on "
            "from it",
        )
    if target.strategy is Strategy.DIRECT and _MOVED.search(ended.output):
        return WorkFailed(
            FailureClass.INFRA,
            f"{branch} has moved on from {target.expected}, where the work began: the next attempt "
            "begins from its new tip",
        )
    if "[rejected]" in ended.output:
        return WorkFailed(
            FailureClass.WORK,
            f"the branch {branch} exists already, with another commit than {sha}: look at it, "
            "then delete or rename it",
        )
    if "[remote rejected]" in ended.output:
        words = refusals.words(ended)
        return WorkFailed(FailureClass.WORK, f"the repository refuses {branch}: {words}")
    refusal = refusals.of(ended)
    return WorkFailed(refusal.failure_class, f"{branch} cannot be pushed: {refusal.words}")
