"""Waiting on real PostgreSQL: what many at once may and may not do, and the order as SQL."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

import psycopg
import pytest
from emptying import empty
from sqlalchemy import Engine, event

from loom.clients.database import DatabaseClient
from loom.database import migrate, outbox, pool
from loom.database.ordering import READY
from loom.domain.bead import Amendment, Bead, NewBead
from loom.domain.evidence import Commit, Outcome, Step
from loom.domain.fairness import Share, turns
from loom.domain.identity import new_message_id
from loom.domain.outbox import ClaimVerdict, OutboxKind, OutboxRow
from loom.domain.priority import effective_priority, rank, waiting_since
from loom.domain.project import Project, ProjectChange, ProjectState
from loom.errors import Invalid, LoomError
from loom.messaging.result import ResultMessage, report
from loom.settings import LedgerSettings
from loom.testing.database import RunningDatabase, running_database
from loom.testing.infrastructure import Infrastructure

T = TypeVar("T")
NAME = "database_waiting"
PROVEN = Outcome(
    succeeded=True,
    steps=(Step("test", ("true",), 0, 0.5, "ok"),),
    commits=(Commit("c0ffee", "agent/bead"),),
)
LEASE_STATEMENTS = 3
"""BEGIN with its limits and its lock, the lease, COMMIT."""


@pytest.fixture(scope="module")
def settings(infrastructure: Infrastructure) -> LedgerSettings:
    made = infrastructure.make_database(NAME)
    migrate.upgrade(infrastructure.migration_named(NAME))
    return made


@pytest.fixture(scope="module")
def owner(
    infrastructure: Infrastructure, settings: LedgerSettings
) -> Iterator[psycopg.Connection[Any]]:
    """The schema's owner, at PostgreSQL itself."""
    login = infrastructure.migration_named(NAME)
    with psycopg.connect(
        host=login.host, port=login.port, dbname=login.name, user=login.user,
        password=login.password.get_secret_value(), autocommit=True,
    ) as connection:  # fmt: skip
        yield connection


@pytest.fixture(scope="module")
def running(settings: LedgerSettings) -> Iterator[RunningDatabase]:
    with running_database(settings, ("alpha", "beta")) as database:
        yield database


@pytest.fixture
def database(running: RunningDatabase, owner: psycopg.Connection[Any]) -> RunningDatabase:
    """The service on empty tables, with the projects alpha and beta."""
    empty(owner, "project, bead, attempt, outbox, inbox, event")
    for project in ("alpha", "beta"):
        running.client("control").create_project(Project(project, "/r", queue_window=1000), "corr")
    return running


def file(database: RunningDatabase, *beads: NewBead, project: str = "alpha") -> list[Bead]:
    return list(database.client("control").create_beads(project, beads, "corr").items)


def at_once(count: int, call: Callable[[int], T]) -> list[T | LoomError]:
    """What each of count threads got, all of them let go at the same moment."""
    gate = threading.Barrier(count)

    def one(number: int) -> T | LoomError:
        gate.wait()
        try:
            return call(number)
        except LoomError as error:
            return error

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


def tasks(client: DatabaseClient, owner: str = "d", limit: int = 1000) -> list[OutboxRow]:
    rows = client.lease_outbox(owner, limit)
    client.settle_outbox(owner, [row.id for row in rows])
    return [row for row in rows if row.kind is OutboxKind.TASK]


def proven(bead_id: str, agent: str, project: str = "alpha") -> tuple[ResultMessage, str]:
    message = report(
        PROVEN, message_id=new_message_id(), project_id=project, bead_id=bead_id, agent_id=agent,
        epoch=1, correlation_id="corr", timestamp=datetime.now(UTC),
    )  # fmt: skip
    return message, ""


# Many at once.


def test_two_dispatchers_at_once_send_no_more_than_the_cap(database: RunningDatabase) -> None:
    database.client("control").update_project("alpha", ProjectChange(max_in_progress=7), "corr")
    file(database, *[NewBead("x")] * 60)
    client = database.client("dispatcher")
    leased = at_once(8, lambda n: [
        row for row in client.lease_outbox(f"d{n}", 5) if row.kind is OutboxKind.TASK
    ])  # fmt: skip
    assert sum(len(rows) for rows in leased if not isinstance(rows, LoomError)) == 7


def test_of_many_claims_at_once_the_cap_is_granted_exactly(database: RunningDatabase) -> None:
    beads = file(database, *[NewBead("x")] * 20)
    assert len(tasks(database.client("dispatcher"))) == 20, "without a cap all are sent"
    database.client("control").update_project("alpha", ProjectChange(max_in_progress=3), "corr")
    agents = database.client("agent-alpha")
    verdicts = at_once(20, lambda n: agents.claim_bead(beads[n].id, 1, f"agent-alpha@{n}").verdict)
    assert verdicts.count(ClaimVerdict.GRANTED) == 3
    assert verdicts.count(ClaimVerdict.DEFERRED) == 17


def test_a_pause_among_claims_loses_no_bead(database: RunningDatabase) -> None:
    control, agents = database.client("control"), database.client("agent-alpha")
    beads = file(database, *[NewBead("x")] * 12)
    tasks(database.client("dispatcher"))

    def act(number: int) -> ClaimVerdict | None:
        if number < 12:
            return agents.claim_bead(beads[number].id, 1, f"agent-alpha@{number}").verdict
        control.update_project("alpha", ProjectChange(state=ProjectState.PAUSED), "corr")
        return None

    verdicts = at_once(13, act)[:12]
    assert set(verdicts) <= {ClaimVerdict.GRANTED, ClaimVerdict.DEFERRED}
    deferred = {
        bead.id
        for bead, verdict in zip(beads, verdicts, strict=True)
        if verdict is ClaimVerdict.DEFERRED
    }
    assert tasks(database.client("dispatcher")) == []
    control.update_project("alpha", ProjectChange(state=ProjectState.ACTIVE), "corr")
    assert {row.bead_id for row in tasks(database.client("dispatcher"))} == deferred


@pytest.mark.parametrize("turn", range(5))
def test_blockers_that_succeed_at_once_let_the_last_bead_go(
    database: RunningDatabase, turn: int
) -> None:
    beads = file(database, *(NewBead("x", id=f"b{turn}-{n}") for n in range(6)))
    (waiting,) = file(
        database, NewBead("last", blocked_by=tuple(bead.id for bead in beads)), project="beta"
    )
    agents, ingester = database.client("agent-alpha"), database.client("ingester")
    for bead in beads:
        agents.claim_bead(bead.id, 1, "agent-alpha@h")
    at_once(6, lambda n: ingester.record_results([proven(beads[n].id, "agent-alpha@h")]))
    sent = [row.bead_id for row in tasks(database.client("dispatcher"))]
    assert sent.count(waiting.id) == 1


@pytest.mark.parametrize("turn", range(5))
def test_a_bead_filed_while_its_blocker_succeeds_is_let_go(
    database: RunningDatabase, turn: int
) -> None:
    (first,) = file(database, NewBead("first"))
    agents, ingester = database.client("agent-alpha"), database.client("ingester")
    agents.claim_bead(first.id, 1, "agent-alpha@h")
    result = proven(first.id, "agent-alpha@h")
    control = database.client("control")

    def act(number: int) -> object:
        if number == 0:
            return ingester.record_results([result])
        new = NewBead("x", id=f"w{turn}-{number}", blocked_by=(first.id,))
        return control.create_beads("beta", [new], "corr")

    assert not [answer for answer in at_once(5, act) if isinstance(answer, LoomError)]
    sent = {row.bead_id for row in tasks(database.client("dispatcher"))}
    assert {f"w{turn}-{number}" for number in range(1, 5)} <= sent


@pytest.mark.parametrize("turn", range(5))
def test_of_two_links_that_together_are_a_circle_one_is_refused(
    database: RunningDatabase, turn: int
) -> None:
    a, b = file(database, NewBead("a", id=f"a{turn}"), NewBead("b", id=f"b{turn}"))
    links = [(a.id, b.id), (b.id, a.id)]
    control = database.client("control")
    answers = at_once(
        2, lambda n: control.amend_bead(links[n][0], Amendment(blocked_by=(links[n][1],)))
    )
    assert [isinstance(answer, Invalid) for answer in answers].count(True) == 1


# The order, as the domain decides it and as SQL does.


def test_the_ledger_sends_in_the_order_that_the_domain_decides(
    database: RunningDatabase, owner: psycopg.Connection[Any]
) -> None:
    numbers = random.Random(7)  # noqa: S311 - the same beads in every run
    beads = file(database, *(NewBead("x", priority=numbers.randrange(4)) for _ in range(200)))
    for bead in beads:
        owner.execute(
            "UPDATE bead SET created_at = created_at - make_interval(secs => %s) WHERE id = %s",
            (numbers.uniform(0, 5 * 3600), bead.id),
        )
    control = database.client("control")
    for bead in beads:
        # Every place is computed anew, by the SQL of an amendment.
        other = 0 if bead.priority else 1
        control.amend_bead(bead.id, Amendment(priority=other))
        control.amend_bead(bead.id, Amendment(priority=bead.priority))
    now = datetime.now(UTC)
    aged = [control.get_bead(bead.id) for bead in beads]
    expected = sorted(
        aged,
        key=lambda b: effective_priority(b.priority, (now - b.created_at).total_seconds()),
    )
    assert [row.bead_id for row in tasks(database.client("dispatcher"))] == [
        bead.id for bead in expected
    ]


def test_filing_and_retrying_rank_a_bead_as_the_domain_does(
    database: RunningDatabase, owner: psycopg.Connection[Any]
) -> None:
    due = datetime(2031, 5, 1, 9, tzinfo=UTC)
    beads = file(database, *(NewBead("x", priority=p) for p in range(4)))
    beads += file(database, NewBead("x", priority=3, not_before=due))
    control, agents = database.client("control"), database.client("agent-alpha")
    control.update_project("alpha", ProjectChange(state=ProjectState.PAUSED), "corr")
    for again in (False, True):
        if again:
            for bead in beads:
                assert agents.claim_bead(bead.id, 1, "a").verdict is ClaimVerdict.DEFERRED
        for bead in beads:
            (kept,) = owner.execute(
                "SELECT rank FROM outbox WHERE kind = 'task' AND bead_id = %s", (bead.id,)
            ).fetchall()
            since = waiting_since(bead.created_at, bead.not_before)
            assert kept[0].astimezone(UTC) == rank(bead.priority, since)


def test_shares_are_counted_as_the_domain_counts_them(
    database: RunningDatabase, owner: psycopg.Connection[Any]
) -> None:
    numbers = random.Random(11)  # noqa: S311 - the same leases in every run
    control, client = database.client("control"), database.client("dispatcher")
    control.update_project("alpha", ProjectChange(weight=37), "corr")
    shares = {"alpha": Share(37), "beta": Share(10)}
    ready = {"alpha": 0, "beta": 0}
    for _ in range(12):
        for project in ready:
            count = numbers.randrange(6)
            if count:
                file(database, *[NewBead("x")] * count, project=project)
            ready[project] += count
        owner.execute("DELETE FROM outbox WHERE kind = 'event'")
        limit = numbers.randrange(1, 7)
        expected, shares = turns(shares, ready, limit)
        leased = tasks(client, limit=limit)
        assert [row.project_id for row in leased] == list(expected)
        for row in leased:
            ready[row.project_id] -= 1


# The cost.


def statements_of(settings: LedgerSettings, call: Callable[[Engine], object]) -> int:
    engine = pool.make_engine(pool.pooled_url(settings), 1)
    with engine.connect():
        pass
    seen: list[str] = []
    event.listen(
        engine, "before_cursor_execute", lambda _c, _cu, statement, *_: seen.append(statement)
    )
    try:
        call(engine)
        return len(seen)
    finally:
        engine.dispose()


def test_a_lease_is_one_statement_however_many_projects_and_rows(
    database: RunningDatabase, settings: LedgerSettings
) -> None:
    control = database.client("control")
    for number in range(10):
        control.create_project(
            Project(f"p{number}", "/r", max_in_progress=number, weight=number + 1), "corr"
        )
        (blocker, *_) = file(database, *[NewBead("x")] * 30, project=f"p{number}")
        file(database, *[NewBead("x", blocked_by=(blocker.id,))] * 5, project=f"p{number}")

    def lease(engine: Engine) -> None:
        leased = pool.run(
            engine, lambda c: outbox.lease(c, "d", 500, 10.0), locks=(outbox.TASKS_LOCK,)
        )
        assert len(leased) > 100

    assert statements_of(settings, lease) == LEASE_STATEMENTS


def test_what_cannot_go_lies_outside_of_what_a_lease_reads(
    database: RunningDatabase, owner: psycopg.Connection[Any]
) -> None:
    (blocker,) = file(database, NewBead("blocker", priority=3))
    for _ in range(3):
        file(database, *[NewBead("held", priority=0, blocked_by=(blocker.id,))] * 900)
        file(database, *[NewBead("early", not_before=datetime(2031, 1, 1, tzinfo=UTC))] * 900)
    owner.execute("ANALYZE outbox")
    ready = READY.format(project="p", now="now()")
    query = (
        "SELECT o.id FROM project p CROSS JOIN LATERAL (SELECT o.id FROM outbox o "  # noqa: S608
        f"WHERE {ready} ORDER BY o.rank, o.id LIMIT 10) AS o"
    )
    plan = owner.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}").fetchone()
    assert plan is not None
    reads = [node for node in nodes(plan[0][0]["Plan"]) if node.get("Relation Name") == "outbox"]
    assert reads
    for node in reads:
        assert node["Node Type"] != "Seq Scan", node
        assert node.get("Rows Removed by Filter", 0) < 10
        assert node["Actual Rows"] < 10
    assert [row.bead_id for row in tasks(database.client("dispatcher"))] == [blocker.id]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A node of a query's plan and all below it."""
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)
