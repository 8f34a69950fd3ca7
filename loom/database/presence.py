"""Agents in the ledger: who is there, by the database's clock, and what people want of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select, text
from sqlalchemy.dialects.postgresql import insert

from loom.database import agent_events, attendance, audit, cursor, projects, tables
from loom.database.attendance import Kept, missing
from loom.database.changes import Changes
from loom.database.claims import check_caller
from loom.database.steering import Run
from loom.database.writing import write
from loom.domain.audit import Intervention
from loom.domain.presence import (
    FORGOTTEN_AFTER_S,
    LOST_AFTER_S,
    WISH_KEPT_S,
    Agent,
    AgentState,
    AgentWish,
    Registration,
    Report,
    RunningBead,
    check_registration,
    check_report,
    project_of_agent,
)

PAGE, LARGEST_PAGE = 100, 500
BY_CELERY = "somebody told the agent itself, by `celery control`"

_NOW = func.clock_timestamp().label("now")
_ONE = select(*tables.agent.c, _NOW)
_LOST = text(
    "UPDATE agent SET lost = true WHERE NOT lost AND ended_at IS NULL "
    "AND last_seen < clock_timestamp() - interval '1 second' * :lost_s RETURNING *"
)
_FORGET = text(
    "DELETE FROM agent WHERE last_seen < clock_timestamp() - interval '1 second' * "
    "CASE wish WHEN 'work' THEN :silent_s ELSE :wished_s END"
)


class Presence:
    """Commands about agents, each in one transaction."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def register(self, told: Registration, caller: str, time_left_s: float) -> AgentWish:
        """Keep what an agent is; what people want of it. Raises NotFound (its project)."""
        check_registration(told)
        check_caller(caller, told.project_id)

        def work(connection: Connection) -> AgentWish:
            projects.get(connection, told.project_id)
            kept, now = _locked(connection, told.name)
            after = attendance.registered(kept, told, now)
            _write(connection, after)
            write(connection, agent_events.told(kept, after))
            return after.wish

        return self._run(work, time_left_s)

    def report(self, told: Report, caller: str, time_left_s: float) -> AgentWish:
        """Keep what an agent does; what people want of it. Raises NotFound, Stale."""
        check_report(told)
        check_caller(caller, project_of_agent(told.name))

        def work(connection: Connection) -> AgentWish:
            kept, now = _locked(connection, told.name)
            after = attendance.reported(kept, told, now)
            _write(connection, after)
            write(connection, agent_events.told(kept, after))
            if kept is not None and told.asks not in (None, kept.wish):
                _note(connection, Intervention(told.name, BY_CELERY), after)
            return after.wish

        return self._run(work, time_left_s)

    def steer(self, name: str, wish: AgentWish, by: Intervention, time_left_s: float) -> Agent:
        """Keep what somebody wants of an agent; the agent then. Raises NotFound."""
        project_of_agent(name)

        def work(connection: Connection) -> Agent:
            kept, now = _locked(connection, name)
            after = attendance.steered(kept, name, wish, now)
            if after != kept:
                _write(connection, after)
                write(connection, agent_events.told(kept, after, by.actor))
                _note(connection, by, after)
            return after.agent(now)

        return self._run(work, time_left_s)

    def get(self, name: str, time_left_s: float) -> Agent:
        """One agent. Raises NotFound."""

        def work(connection: Connection) -> Agent:
            row = (
                connection.execute(_ONE.where(tables.agent.c.name == _storable(name)))
                .mappings()
                .one_or_none()
            )
            if row is None:
                raise missing(name)
            return _agent(row)

        return self._run(work, time_left_s)

    def page(
        self,
        project_id: str,
        state: AgentState | None,
        size: int,
        after: str,
        time_left_s: float,
        *,
        project_ids: Sequence[str] = (),
    ) -> tuple[tuple[Agent, ...], str]:
        """Agents in the order of their names, and the next cursor."""
        size = cursor.page_size(size, PAGE, LARGEST_PAGE)
        begin = str(cursor.read(after, str)[0]) if after else ""
        found = self._run(
            lambda c: [
                agent
                for agent in of_project(c, project_id, begin, project_ids)
                if state in (None, agent.state)
            ],
            time_left_s,
        )
        more = cursor.write(found[size - 1].name) if len(found) > size else ""
        return tuple(found[:size]), more

    def forget(self, time_left_s: float) -> int:
        """Tell of agents that are lost by now, and forget those silent for long; how many."""
        limits = {"silent_s": FORGOTTEN_AFTER_S, "wished_s": WISH_KEPT_S}

        def work(connection: Connection) -> int:
            rows = connection.execute(_LOST, {"lost_s": LOST_AFTER_S}).mappings()
            lost = tuple(agent_events.lost(_kept(row)) for row in rows)
            write(connection, Changes(events=lost))
            return int(connection.execute(_FORGET, limits).rowcount)

        return self._run(work, time_left_s)


def of_project(
    connection: Connection, project_id: str = "", after: str = "", project_ids: Sequence[str] = ()
) -> list[Agent]:
    """The agents of a project, or of these, or of all, whose names come after that one, in their
    order.
    """
    table = tables.agent
    # By code points, as Python sorts them and a cursor compares them.
    name = table.c.name.collate("C")
    statement = _ONE.where(name > after).order_by(name)
    if project_id:
        statement = statement.where(table.c.project_id == project_id)
    if project_ids:
        statement = statement.where(table.c.project_id == func.any(list(project_ids)))
    return [_agent(row) for row in connection.execute(statement).mappings()]


def _locked(connection: Connection, name: str) -> tuple[Kept | None, datetime]:
    statement = _ONE.where(tables.agent.c.name == name).with_for_update()
    row = connection.execute(statement).mappings().one_or_none()
    if row is None:
        now: datetime = connection.execute(select(_NOW)).scalar_one()
        return None, now
    return _kept(row), row["now"]


def _write(connection: Connection, kept: Kept) -> None:
    values: dict[str, Any] = {each.name: getattr(kept, each.name) for each in fields(Kept)}
    values |= {
        "running": [[bead.bead_id, bead.epoch] for bead in kept.running],
        "versions": dict(kept.versions),
        "tools": dict(kept.tools),
        "wish": kept.wish.value,
    }
    connection.execute(
        insert(tables.agent)
        .values(values)
        .on_conflict_do_update(index_elements=["name"], set_=values)
    )


def _kept(row: RowMapping) -> Kept:
    words = {each.name: row[each.name] for each in fields(Kept)}
    return Kept(**words | {"running": _running(row["running"]), "wish": AgentWish(row["wish"])})


def _agent(row: RowMapping) -> Agent:
    return _kept(row).agent(row["now"])


def _running(pairs: Iterable[tuple[str, int]]) -> tuple[RunningBead, ...]:
    return tuple(RunningBead(bead_id, epoch) for bead_id, epoch in pairs)


def _note(connection: Connection, by: Intervention, after: Kept) -> None:
    action = {AgentWish.WORK: "resume", AgentWish.DRAIN: "drain", AgentWish.STOP: "stop"}
    detail = {"project_id": after.project_id, "running": len(after.running)}
    audit.note(connection, by, f"agent.{action[after.wish]}", after.name, detail)


def _storable(name: str) -> str:
    return name.replace("\0", "")
