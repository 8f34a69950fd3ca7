"""Projects in the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, select
from sqlalchemy import update as sql_update

from loom.database import cursor, rows, tables
from loom.database.changes import Changes, Event
from loom.database.writing import write
from loom.domain import rulebook
from loom.domain.project import Project, ProjectChange
from loom.domain.rules import Rules
from loom.errors import NotFound

PAGE, LARGEST_PAGE = 100, 500


def create(
    connection: Connection, project: Project, correlation_id: str, traceparent: str
) -> Project:
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
    correlation_id: str,
    traceparent: str,
) -> Project:
    """Change a project as `filing.check_project_change` has passed it. Raises NotFound."""
    given = dict(change.given())
    if not given:
        return get(connection, project_id)
    table = tables.project
    if change.rules is not None:
        given["rules"] = rulebook.to_json(_with_rules(connection, project_id, change.rules))
    row = (
        connection.execute(
            sql_update(table).where(table.c.id == project_id).values(**given).returning(*table.c)
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise missing(project_id)
    write(connection, Changes(events=(changed(project_id, change, correlation_id, traceparent),)))
    return rows.project(row)


def _with_rules(connection: Connection, project_id: str, rules: Mapping[str, Any]) -> Rules:
    """The project's rules with the new ones; its row is locked, so that no other change is lost."""
    table = tables.project
    row = connection.execute(
        select(table.c.rules).where(table.c.id == project_id).with_for_update()
    ).one_or_none()
    if row is None:
        raise missing(project_id)
    return rulebook.read(rules, rulebook.of_json(row.rules))


def changed(project_id: str, change: ProjectChange, correlation_id: str, traceparent: str) -> Event:
    """What is told of it."""
    return Event("project.changed", project_id, "", 0, change.given(), correlation_id, traceparent)


def missing(project_id: str) -> NotFound:
    """The error for a project that is not there."""
    return NotFound(
        f"there is no project {project_id}: POST /api/v1/projects makes one",
        project_id=project_id,
    )


def page(connection: Connection, size: int, after: str) -> tuple[tuple[Project, ...], str]:
    """Projects in the order of their ids, and the next cursor."""
    table = tables.project
    size = cursor.page_size(size, PAGE, LARGEST_PAGE)
    statement = select(*table.c).order_by(table.c.id).limit(size + 1)
    if after:
        statement = statement.where(table.c.id > cursor.read(after, str)[0])
    found = [rows.project(row) for row in connection.execute(statement).mappings()]
    more = len(found) > size
    found = found[:size]
    return tuple(found), cursor.write(found[-1].id) if more else ""
