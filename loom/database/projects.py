"""Projects in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, func, insert, select
from sqlalchemy import update as sql_update

from loom.database import audit, cursor, filing, rows, tables
from loom.database.changes import Changes, Event
from loom.database.writing import write
from loom.domain import rulebook
from loom.domain.audit import Intervention
from loom.domain.project import Project, ProjectChange, ProjectState
from loom.errors import NotFound, Stale

PAGE, LARGEST_PAGE = 100, 500


def create(
    connection: Connection, project: Project, correlation_id: str, traceparent: str,
    by: Intervention,
) -> Project:  # fmt: skip
    """Make a project that `filing.check_project` has passed. Raises Conflict (its id)."""
    table = tables.project
    row = (
        connection.execute(
            insert(table)
            .values(
                id=project.id,
                repository=project.repository,
                name=project.name,
                default_branch=project.default_branch,
                test_command=list(project.test_command),
                timeout_s=project.timeout_s,
                queue_window=project.queue_window,
                state=project.state.value,
                weight=project.weight,
                max_in_progress=project.max_in_progress,
                max_attempts=project.max_attempts,
                soft_timeout_s=project.soft_timeout_s,
                rules=rulebook.to_json(project.rules),
                started=0.0,
                finished=0.0,
            )
            .returning(*table.c)
        )
        .mappings()
        .one()
    )
    data = {"name": project.name, "repository": project.repository}
    event = Event("project.created", project.id, "", 0, data, correlation_id, traceparent)
    write(connection, Changes(events=(event,)))
    audit.note(connection, by, "project.create", project.id, data)
    return rows.project(row)


def get(connection: Connection, project_id: str) -> Project:
    """One project. Raises NotFound."""
    table = tables.project
    row = (
        connection.execute(select(*table.c).where(table.c.id == project_id))
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise missing(project_id)
    return rows.project(row)


def update(
    connection: Connection,
    project_id: str,
    change: ProjectChange,
    expected_version: int,
    by: Intervention,
) -> Project:
    """Change a project as `filing.check_project_change` has passed it; it as it is then.

    Raises NotFound, Stale (expected_version, unless it is 0), Invalid and IllegalTransition.
    """
    table = tables.project
    row = (
        connection.execute(
            select(*table.c).where(table.c.id == project_id).with_for_update(key_share=True)
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise missing(project_id)
    before = rows.project(row)
    after = changed(before, change, expected_version)
    if after == before:
        return before
    connection.execute(
        sql_update(table)
        .where(table.c.id == project_id)
        .values(
            version=after.version, name=after.name, repository=after.repository,
            default_branch=after.default_branch, test_command=list(after.test_command),
            timeout_s=after.timeout_s, soft_timeout_s=after.soft_timeout_s,
            state=after.state.value, weight=after.weight, queue_window=after.queue_window,
            max_in_progress=after.max_in_progress, max_attempts=after.max_attempts,
            rules=rulebook.to_json(after.rules),
        )
    )  # fmt: skip
    write(connection, Changes(events=(told(after, change, by),)))
    audit.note(connection, by, action(before, after), project_id, dict(change.given()))
    return after


def changed(before: Project, change: ProjectChange, expected_version: int) -> Project:
    """The project after the change, of the next version; itself if nothing is to change.

    Raises Stale, Invalid, IllegalTransition.
    """
    if expected_version and expected_version != before.version:
        raise Stale(
            f"project {before.id} is at version {before.version}, not {expected_version}: read it "
            "again and repeat the change",
            project_id=before.id,
            version=str(before.version),
        )
    after = filing.check_project(change.apply(before))
    return before if after == before else replace(after, version=before.version + 1)


_ACTIONS = {
    ProjectState.PAUSED: "project.pause",
    ProjectState.DRAINING: "project.drain",
    ProjectState.CLOSED: "project.close",
}


def action(before: Project, after: Project) -> str:
    """What the trail calls it."""
    if after.state is before.state:
        return "project.edit"
    closed = before.state is ProjectState.CLOSED
    return _ACTIONS.get(after.state, "project.reopen" if closed else "project.resume")


def told(after: Project, change: ProjectChange, by: Intervention) -> Event:
    """What is told of it."""
    data = {**change.given(), "version": after.version, "by": by.actor}
    return Event(
        "project.changed", after.id, "", 0, data, by.correlation_id, by.traceparent
    )  # fmt: skip


def missing(project_id: str) -> NotFound:
    """The error for a project that is not there."""
    return NotFound(
        f"there is no project {project_id}: POST /api/v1/projects makes one",
        project_id=project_id,
    )


def page(
    connection: Connection, size: int, after: str, ids: Sequence[str] = ()
) -> tuple[tuple[Project, ...], str]:
    """Projects in the order of their ids, and the next cursor. ids: only these, if any."""
    table = tables.project
    size = cursor.page_size(size, PAGE, LARGEST_PAGE)
    statement = select(*table.c).order_by(table.c.id).limit(size + 1)
    if ids:
        statement = statement.where(table.c.id == func.any(list(ids)))
    if after:
        statement = statement.where(table.c.id > cursor.read(after, str)[0])
    found = [rows.project(row) for row in connection.execute(statement).mappings()]
    more = len(found) > size
    found = found[:size]
    return tuple(found), cursor.write(found[-1].id) if more else ""
