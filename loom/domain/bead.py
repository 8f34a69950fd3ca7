"""A bead: one unit of work in a project; and an attempt, one try at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from loom.domain.evidence import Artifact, Commit, FailureClass, Step, TestFailure
from loom.domain.lifecycle import Resolution, State

MAX_BATCH = 1_000
"""Beads in one request, which is one transaction."""
MAX_BLOCKERS = 100

TOLD_FAILURES = 50
TOLD_MESSAGE = 2_000
"""Characters of one failure that the next attempt is told of."""
TOLD_OUTPUT = 4_000


@dataclass(frozen=True, slots=True)
class NewBead:
    """A bead as it is filed.

    context: JSON object the agent works from: `patch` (unified diff), `test_command` (argv),
    `timeout_s`. priority: 0 (first) to 3. not_before: it does not start earlier. blocked_by: ids of
    beads that have to succeed first, of any project. parent: a bead that waits for this one.
    max_attempts: instead of its project's; 0: as the project says.
    """

    title: str
    id: str = ""
    description: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 2
    not_before: datetime | None = None
    blocked_by: tuple[str, ...] = ()
    parent: str = ""
    max_attempts: int = 0


@dataclass(frozen=True, slots=True)
class Bead:
    """A bead as the ledger has it.

    epoch: how often it was claimed; every write of an attempt carries the epoch of its claim.
    version: grows with every change, for optimistic edits. reason: why it is blocked or failed.
    """

    id: str
    project_id: str
    title: str
    state: State
    epoch: int
    version: int
    correlation_id: str
    created_at: datetime
    updated_at: datetime
    description: str = ""
    context: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 2
    resolution: Resolution | None = None
    reason: str = ""
    commits: tuple[Commit, ...] = ()
    closed_at: datetime | None = None
    not_before: datetime | None = None
    blocked_by: tuple[str, ...] = ()
    parent: str = ""
    max_attempts: int = 0
    assignee: str = ""
    """Who took it by hand; empty: nobody, and agents may have it."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a bead, from its claim to its end.

    outcome: running, succeeded, failed, lost (its lease ran out), superseded (taken over) or
    cancelled. notes: what whoever worked wants a person to read.
    """

    bead_id: str
    epoch: int
    agent_id: str
    outcome: str
    claimed_at: datetime
    lease_until: datetime
    finished_at: datetime | None = None
    failure_class: FailureClass | None = None
    reason: str = ""
    steps: tuple[Step, ...] = ()
    commits: tuple[Commit, ...] = ()
    output: str = ""
    artifacts: tuple[Artifact, ...] = ()
    notes: str = ""

    def retold(self) -> Attempt:
        """It as the next attempt is told of it: how it ended, and which tests failed."""
        steps, left = [], TOLD_FAILURES
        for step in self.steps:
            if step.tests is None:
                continue
            failures = tuple(
                TestFailure(failure.name, failure.message[:TOLD_MESSAGE])
                for failure in step.tests.failures[:left]
            )
            left -= len(failures)
            tests = replace(step.tests, failures=failures)
            steps.append(replace(step, output_tail="", tests=tests, findings=(), log=None))
        return replace(
            self,
            steps=tuple(steps),
            output=self.output[-TOLD_OUTPUT:],
            artifacts=(),
            notes=self.notes[:TOLD_OUTPUT],
        )


@dataclass(frozen=True, slots=True)
class Amendment:
    """What is to change of a bead: its words, what it waits for, its place; None stays as it is.

    parent: empty for none. due_now: it has no due time any more. wait_for, not_for: beads that are
    added to those it waits for, and taken off them.
    """

    priority: int | None = None
    max_attempts: int | None = None
    blocked_by: tuple[str, ...] | None = None
    parent: str | None = None
    not_before: datetime | None = None
    due_now: bool = False
    title: str | None = None
    description: str | None = None
    context: Mapping[str, Any] | None = None
    wait_for: tuple[str, ...] = ()
    not_for: tuple[str, ...] = ()

    @property
    def links(self) -> bool:
        """Whether it may change whom a bead waits for."""
        named = self.wait_for or self.not_for
        return bool(named) or self.blocked_by is not None or self.parent is not None

    def apply(self, bead: Bead) -> Bead:
        """The bead as it is then, but for its version."""
        return replace(
            bead,
            priority=bead.priority if self.priority is None else self.priority,
            max_attempts=bead.max_attempts if self.max_attempts is None else self.max_attempts,
            blocked_by=self._blockers(bead),
            parent=bead.parent if self.parent is None else self.parent,
            not_before=None if self.due_now else self.not_before or bead.not_before,
            title=bead.title if self.title is None else self.title,
            description=bead.description if self.description is None else self.description,
            context=bead.context if self.context is None else self.context,
        )

    def _blockers(self, bead: Bead) -> tuple[str, ...]:
        named = bead.blocked_by if self.blocked_by is None else self.blocked_by
        kept = tuple(id_ for id_ in named if id_ not in self.not_for)
        return tuple(dict.fromkeys((*kept, *self.wait_for)))
