"""Rows of the ledger as the domain's values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, func, select

from loom.database import tables
from loom.database.changes import Running, Standing
from loom.domain import rulebook
from loom.domain.bead import Attempt, Bead
from loom.domain.evidence import FailureClass
from loom.domain.lifecycle import Resolution, State
from loom.domain.priority import waiting_since
from loom.domain.project import Project, ProjectState
from loom.messaging.evidence import artifacts_from_json, commits_from_json, steps_from_json


def bead(row: RowMapping) -> Bead:
    """A row of the table bead."""
    return Bead(
        id=row["id"],
        project_id=row["project_id"],
        title=row["title"],
        description=row["description"],
        context=row["context"],
        priority=row["priority"],
        state=State(row["state"]),
        resolution=Resolution(row["resolution"]) if row["resolution"] else None,
        reason=row["reason"],
        epoch=row["epoch"],
        version=row["version"],
        correlation_id=row["correlation_id"],
        commits=commits_from_json(row["commits"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        closed_at=row["closed_at"],
        not_before=row["not_before"],
        blocked_by=tuple(row["blocked_by"]),
        parent=row["parent"],
        max_attempts=row["max_attempts"],
        assignee=row["assignee"],
    )


def project(row: RowMapping | Mapping[str, Any]) -> Project:
    """A row of the table project."""
    return Project(
        id=row["id"],
        repository=row["repository"],
        name=row["name"],
        default_branch=row["default_branch"],
        test_command=tuple(row["test_command"]),
        timeout_s=row["timeout_s"],
        queue_window=row["queue_window"],
        created_at=row["created_at"],
        state=ProjectState(row["state"]),
        weight=row["weight"],
        max_in_progress=row["max_in_progress"],
        max_attempts=row["max_attempts"],
        soft_timeout_s=row["soft_timeout_s"],
        rules=rulebook.of_json(row["rules"]),
        version=row["version"],
    )


def attempt(row: RowMapping) -> Attempt:
    """A row of the table attempt."""
    return Attempt(
        bead_id=row["bead_id"],
        epoch=row["epoch"],
        agent_id=row["agent_id"],
        outcome=row["outcome"],
        claimed_at=row["claimed_at"],
        lease_until=row["lease_until"],
        finished_at=row["finished_at"],
        failure_class=FailureClass(row["failure_class"]) if row["failure_class"] else None,
        reason=row["reason"],
        output=row["output"],
        steps=steps_from_json(row["steps"]),
        commits=commits_from_json(row["commits"]),
        artifacts=artifacts_from_json(row["artifacts"]),
        notes=row["notes"],
    )


def standing(row: RowMapping, running: Running | None = None) -> Standing:
    """A row of the table bead, as decisions see it; with what its project says."""
    return Standing(
        id=row["id"],
        project_id=row["project_id"],
        state=State(row["state"]),
        epoch=row["epoch"],
        attempts=row["attempts"],
        forgiven=row["forgiven"],
        version=row["version"],
        priority=row["priority"],
        correlation_id=row["correlation_id"],
        traceparent=row["traceparent"],
        reason=row["reason"],
        running=running,
        since=waiting_since(row["created_at"], row["not_before"]),
        gated=row["gated"],
        max_attempts=row["max_attempts"] or row["project__max_attempts"],
        allow_no_tests=bool(row["project__allow_no_tests"]),
    )


def lock_standings(connection: Connection, bead_ids: list[str]) -> dict[str, Standing]:
    """The beads that exist, locked in the order of their ids, with their running attempts.

    The attempts are read by a second statement: one that had to wait for the lock sees the beads
    as they are now, but what it joined to them as it was before.
    """
    b, a = tables.bead.c, tables.attempt.c
    found = (
        connection.execute(
            select(*standing_columns())
            .join(tables.project, tables.project.c.id == b.project_id)
            .where(b.id.in_(bead_ids))
            .order_by(b.id)
            .with_for_update(of=tables.bead)
        )
        .mappings()
        .all()
    )
    busy = [row["id"] for row in found if row["state"] == State.IN_PROGRESS.value]
    running: dict[str, Running] = {}
    if busy:
        for row in connection.execute(
            select(a.bead_id, *running_columns()).where(a.bead_id.in_(busy), a.outcome == "running")
        ).mappings():
            running[row["bead_id"]] = running_of(row)
    return {row["id"]: standing(row, running.get(row["id"])) for row in found}


ALLOW_NO_TESTS = (
    tables.project.c.rules["allow_no_tests"].as_boolean().label("project__allow_no_tests")
)


def standing_columns() -> list[ColumnElement[Any]]:
    """What `standing` needs of a bead joined with its project."""
    b = tables.bead.c
    return [
        b.id, b.project_id, b.state, b.epoch, b.attempts, b.forgiven, b.version, b.priority,
        b.correlation_id, b.traceparent, b.reason, b.created_at, b.not_before, b.gated,
        b.max_attempts, tables.project.c.max_attempts.label("project__max_attempts"),
        ALLOW_NO_TESTS,
    ]  # fmt: skip


def running_columns() -> list[ColumnElement[Any]]:
    """What `running_of` needs of an attempt."""
    a = tables.attempt.c
    left = func.extract("epoch", a.lease_until - func.clock_timestamp())
    return [
        a.epoch.label("attempt_epoch"), a.agent_id, a.request_id, left.label("lease_left_s"),
    ]  # fmt: skip


def running_of(row: RowMapping) -> Running:
    """The attempt that runs."""
    return Running(
        row["attempt_epoch"], row["agent_id"], row["request_id"], float(row["lease_left_s"])
    )
