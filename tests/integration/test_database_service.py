"""The database service on real PostgreSQL and PgBouncer: many at once, transactions, queries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import grpc
import psycopg
import pytest
from emptying import empty
from sqlalchemy import Engine, event

from loom.database import beads, migrate, pool
from loom.database.ledger import Ledger
from loom.database.wakeups import Wakeups
from loom.domain.bead import NewBead
from loom.domain.identity import new_message_id
from loom.domain.lifecycle import State
from loom.domain.outbox import ClaimVerdict, OutboxKind
from loom.domain.project import Project
from loom.errors import (
    Conflict,
    DeadlineExceeded,
    Exhausted,
    Forbidden,
    IllegalTransition,
    Invalid,
    LoomError,
    NotFound,
    Stale,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from loom.rpc import status
from loom.rpc.channel import connect
from loom.rpc.v1 import database_pb2 as pb
from loom.rpc.v1 import database_pb2_grpc
from loom.settings import LedgerSettings
from loom.testing.database import RunningDatabase, running_database
from loom.testing.infrastructure import Infrastructure

T = TypeVar("T")
NAME = "database_service"
TABLES = "project, bead, attempt, outbox, inbox, event, dead_letter, idempotency, query_audit"


@pytest.fixture(scope="module")
def settings(infrastructure: Infrastructure) -> LedgerSettings:
    made = infrastructure.make_database(NAME).model_copy(
        update={"max_transactions": 3, "transaction_timeout_s": 20.0}
    )
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
    """The service on empty tables, with the project alpha."""
    empty(owner, TABLES)
    running.client("control").create_project(Project("alpha", "/r", queue_window=1000), "corr")
    return running


def file(database: RunningDatabase, count: int = 1) -> list[str]:
    filed = database.client("control").create_beads("alpha", [NewBead("x")] * count, "corr")
    return [bead.id for bead in filed.items]


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


def call(method: Callable[..., Any], request: Any, timeout: float = 10.0) -> Any:
    """A bare call, with the service's errors as Loom's."""
    try:
        return method(request, timeout=timeout)
    except grpc.RpcError as error:
        raise status.from_call(error, "the service") from error


# Many at once.


def test_of_twenty_claims_of_one_bead_one_is_granted(database: RunningDatabase) -> None:
    (bead_id,) = file(database)
    agents = database.client("agent-alpha")
    answers = at_once(20, lambda n: agents.claim_bead(bead_id, 1, f"agent-alpha@{n}").verdict)
    assert answers.count(ClaimVerdict.GRANTED) == 1
    assert answers.count(ClaimVerdict.HELD) == 19


def test_of_twenty_takeovers_of_one_message_one_is_granted(database: RunningDatabase) -> None:
    (bead_id,) = file(database)
    agents = database.client("agent-alpha")
    agents.claim_bead(bead_id, 1, "agent-alpha@first")
    answers = at_once(
        20, lambda n: agents.claim_bead(bead_id, 1, f"agent-alpha@{n}", redelivered=True).verdict
    )
    assert answers.count(ClaimVerdict.GRANTED) == 1
    assert answers.count(ClaimVerdict.STALE) == 19


def test_beads_that_are_claimed_at_once_are_granted_each_to_who_asked_for_it(
    database: RunningDatabase,
) -> None:
    ids = file(database, 24)
    agents = database.client("agent-alpha")
    answers = at_once(
        48, lambda n: agents.claim_bead(ids[n % 24], 1, f"agent-alpha@{n}", request_id=f"r{n}")
    )
    granted = {n: c for n, c in enumerate(answers) if c.verdict is ClaimVerdict.GRANTED}
    assert sorted(n % 24 for n in granted) == list(range(24))
    for number, claim in granted.items():
        assert claim.bead.id == ids[number % 24]
        assert claim.bead.state is State.IN_PROGRESS
        assert claim.project.id == "alpha"
        (attempt,) = database.client("control").list_attempts(claim.bead.id)
        assert attempt.agent_id == f"agent-alpha@{number}"
    others = [c.verdict for n, c in enumerate(answers) if n not in granted]
    assert others == [ClaimVerdict.HELD] * 24


def test_a_bead_that_somebody_has_locked_holds_up_no_claim_of_another(
    database: RunningDatabase, infrastructure: Infrastructure
) -> None:
    locked, free = file(database, 2)
    agents = database.client("agent-alpha")
    login = infrastructure.migration_named(NAME)
    with (
        psycopg.connect(
            host=login.host, port=login.port, dbname=login.name, user=login.user,
            password=login.password.get_secret_value(),
        ) as holder,
        ThreadPoolExecutor(1) as threads,
    ):  # fmt: skip
        holder.execute("SELECT FROM bead WHERE id = %s FOR UPDATE", [locked])
        waiting = threads.submit(agents.claim_bead, locked, 1, "agent-alpha@first")
        assert agents.claim_bead(free, 1, "agent-alpha@h").verdict is ClaimVerdict.GRANTED
        assert not waiting.done()
        holder.rollback()
        assert waiting.result().verdict is ClaimVerdict.GRANTED


def test_dispatchers_lease_disjoint_rows_and_leave_none(database: RunningDatabase) -> None:
    file(database, 200)
    dispatcher = database.client("dispatcher")
    leased = at_once(
        4, lambda n: [r.id for _ in range(8) for r in dispatcher.lease_outbox(f"d{n}", 25)]
    )
    ids = [id_ for answer in leased if isinstance(answer, list) for id_ in answer]
    assert len(ids) == len(set(ids)) == 401


def test_dispatchers_at_once_never_overfill_a_window(
    database: RunningDatabase, owner: psycopg.Connection[Any]
) -> None:
    owner.execute("UPDATE project SET queue_window = 7")
    file(database, 50)
    dispatcher = database.client("dispatcher")
    leased = at_once(6, lambda n: dispatcher.lease_outbox(f"d{n}", 200))
    tasks = [
        row for rows in leased if isinstance(rows, tuple) for row in rows
        if row.kind is OutboxKind.TASK
    ]  # fmt: skip
    assert len(tasks) == 7


def test_of_ten_posts_with_one_key_one_files(database: RunningDatabase) -> None:
    control = database.client("control")
    answers = at_once(
        10,
        lambda _: control.create_beads("alpha", [NewBead("x")], "corr", idempotency=("key", "f")),
    )
    filed = [answer for answer in answers if not isinstance(answer, LoomError)]
    assert [answer.replayed for answer in filed].count(False) == 1
    assert len({answer.items for answer in map(_comparable, filed)}) == 1
    assert len(control.list_beads().items) == 1


def _comparable(filed: Any) -> Any:
    return type("Answer", (), {"items": tuple(bead.id for bead in filed.items)})


def test_of_ten_posts_of_one_id_one_files_and_the_others_conflict(
    database: RunningDatabase,
) -> None:
    control = database.client("control")
    answers = at_once(10, lambda _: control.create_beads("alpha", [NewBead("x", id="i")], "corr"))
    assert sum(isinstance(answer, Conflict) for answer in answers) == 9


def test_a_result_and_the_end_of_its_lease_at_once_leave_one_outcome(
    database: RunningDatabase, owner: psycopg.Connection[Any]
) -> None:
    beads_ = file(database, 40)
    agents = database.client("agent-alpha")
    for bead_id in beads_:
        agents.claim_bead(bead_id, 1, "agent-alpha@h")
    owner.execute("UPDATE attempt SET lease_until = clock_timestamp()")
    ingester, engine = database.stub("ingester"), database.client("engine")

    def one(number: int) -> Any:
        if number % 2:
            return engine.expire_leases(5)
        chunk = beads_[number * 2 : number * 2 + 4]
        results = [_failed(bead_id) for bead_id in chunk]
        return call(ingester.RecordResults, pb.RecordResultsRequest(results=results))

    answers = at_once(20, one)
    assert not [answer for answer in answers if isinstance(answer, LoomError)]
    while engine.expire_leases()[0]:
        pass
    rows = owner.execute(
        "SELECT b.state, a.outcome, count(*) FROM bead b JOIN attempt a ON a.bead_id = b.id "
        "GROUP BY 1, 2"
    ).fetchall()
    assert {(state, outcome) for state, outcome, _ in rows} <= {
        ("closed", "failed"),
        ("open", "lost"),
    }
    assert sum(count for _, _, count in rows) == 40


def _failed(bead_id: str) -> pb.Result:
    return pb.Result(
        message_id=new_message_id(), project_id="alpha", bead_id=bead_id, epoch=1,
        agent_id="agent-alpha@h", failure_class="work", reason="tests failed",
    )  # fmt: skip


def test_filing_a_thousand_beads_takes_as_many_statements_as_filing_one(
    database: RunningDatabase, settings: LedgerSettings
) -> None:
    engine = pool.make_engine(pool.pooled_url(settings), 1)
    try:
        counts = {}
        for count in (1, 1000):
            new = [NewBead("x", id=f"{count}-{n}") for n in range(count)]
            with _statements(engine) as statements:
                pool.run(engine, lambda c, new=new: beads.file(c, "alpha", new, "corr", ""))
            counts[count] = len(statements)
        assert counts == {1: 3, 1000: 3}
    finally:
        engine.dispose()


class _statements:
    """The statements an engine runs in a block."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._seen: list[str] = []

    def __enter__(self) -> list[str]:
        event.listen(self._engine, "before_cursor_execute", self._note)
        return self._seen

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._note)

    def _note(self, _c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self._seen.append(statement)


def test_a_waiting_lease_is_woken_by_a_bead_that_is_filed(database: RunningDatabase) -> None:
    dispatcher = database.client("dispatcher")
    dispatcher.lease_outbox("d", 100)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(dispatcher.lease_outbox, "d", 100, 5000)
        file(database)
        assert OutboxKind.TASK in {row.kind for row in waiting.result()}


def test_a_bead_filed_by_one_service_wakes_a_lease_that_waits_at_another(
    database: RunningDatabase, settings: LedgerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loom.database.wakeups.POLL_S", 60.0)
    monkeypatch.setattr("loom.database.ledger.LONGEST_WAIT_S", 60.0)
    other = Ledger(settings)
    try:
        other.lease_outbox("d", 100, 0, 10)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(other.lease_outbox, "d", 100, 60_000, 30)
            file(database)
            assert waiting.result()
    finally:
        other.close()


def test_only_a_bead_that_may_go_now_hurries_the_dispatcher(
    database: RunningDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    gathered: list[bool] = []
    tell = Wakeups.tell
    monkeypatch.setattr(
        Wakeups, "tell", lambda self, **how: (gathered.append(how["gathered"]), tell(self, **how))
    )
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    (now,) = file(database)
    control, later = database.client("control"), NewBead("later", not_before=tomorrow)
    control.create_beads("alpha", [later, NewBead("after", blocked_by=(now,))], "corr")
    control.create_beads("alpha", [later, NewBead("now")], "corr")
    assert gathered == [False, True, False]


# Who may.


def test_an_agent_may_not_touch_a_bead_of_another_project(database: RunningDatabase) -> None:
    (bead_id,) = file(database)
    stranger = database.client("agent-beta")
    with pytest.raises(Forbidden):
        stranger.claim_bead(bead_id, 1, "agent-beta@h")
    database.client("agent-alpha").claim_bead(bead_id, 1, "agent-alpha@h")
    with pytest.raises(Forbidden):
        stranger.renew_lease(bead_id, 1, "agent-alpha@h")


def test_a_caller_without_a_known_token_is_refused(database: RunningDatabase) -> None:
    with connect(database.target, "guess") as channel:
        stub = database_pb2_grpc.DatabaseServiceStub(channel)
        with pytest.raises(Unauthenticated):
            call(stub.GetBead, pb.GetBeadRequest(id="x"))


def test_an_agent_may_not_report_or_query(database: RunningDatabase) -> None:
    stub = database.stub("agent-alpha")
    with pytest.raises(Forbidden):
        call(stub.RecordResults, pb.RecordResultsRequest())
    with pytest.raises(Forbidden):
        call(stub.ExecuteQuery, pb.ExecuteQueryRequest(sql="SELECT 1"))


# SaveBead.


def save(database: RunningDatabase, bead: pb.Bead, version: int, **more: Any) -> pb.Bead:
    request = pb.SaveBeadRequest(bead=bead, expected_version=version, **more)
    return call(database.stub("operator").SaveBead, request).bead


def read(database: RunningDatabase, bead_id: str) -> pb.Bead:
    return call(database.stub("operator").GetBead, pb.GetBeadRequest(id=bead_id)).bead


def test_a_bead_is_filed_by_saving_it_at_version_zero(database: RunningDatabase) -> None:
    saved = save(database, pb.Bead(id="new", project_id="alpha", title="t", priority=1), 0)
    assert (saved.state, saved.version, saved.priority) == ("open", 1, 1)
    rows = database.client("dispatcher").lease_outbox("d", 10)
    assert [row.bead_id for row in rows if row.kind is OutboxKind.TASK] == ["new"]
    with pytest.raises(Conflict):
        save(database, pb.Bead(id="new", project_id="alpha", title="t"), 0)
    with pytest.raises(NotFound):
        save(database, pb.Bead(id="other", project_id="nowhere", title="t"), 0)


def test_an_edit_changes_words_and_the_place_in_the_queue(database: RunningDatabase) -> None:
    first, second = file(database, 2)
    bead = read(database, second)
    bead.title, bead.priority, bead.context = "sooner", 0, '{"a": 1}'
    edited = save(database, bead, 1)
    assert (edited.title, edited.version) == ("sooner", 2)
    rows = database.client("dispatcher").lease_outbox("d", 10)
    tasks = [row for row in rows if row.kind is OutboxKind.TASK]
    assert [task.bead_id for task in tasks] == [second, first]
    assert tasks[0].payload == {"title": "sooner", "description": "", "context": {"a": 1}}


def test_every_save_is_in_the_audit_with_its_caller(database: RunningDatabase) -> None:
    save(database, pb.Bead(id="told", project_id="alpha", title="t", priority=1), 0)
    bead = read(database, "told")
    bead.title, bead.state, bead.reason = "other", "blocked", "waits for a decision"
    save(database, bead, 1)
    unchanged = read(database, "told")
    save(database, unchanged, 2)
    with pytest.raises(Stale):
        save(database, bead, 1)
    trail = database.client("operator").list_audit(target="told").items
    assert [(line.actor, line.action, line.detail) for line in trail] == [
        (
            "operator", "bead.save",
            {"was": "open", "state": "blocked", "version": 2, "edited": ["title"]},
        ),
        ("operator", "bead.save", {"state": "open", "version": 1}),
    ]  # fmt: skip
    assert trail[0].reason == "waits for a decision"


def test_a_save_that_is_rolled_back_leaves_no_line_in_the_audit(
    database: RunningDatabase,
) -> None:
    opened = begin(database)
    bead = pb.Bead(id="undone", project_id="alpha", title="t")
    save(database, bead, 0, transaction_id=opened)
    call(database.stub("operator").Rollback, pb.RollbackRequest(transaction_id=opened))
    assert database.client("operator").list_audit(target="undone").items == ()


def test_an_edit_of_an_older_version_is_stale(database: RunningDatabase) -> None:
    (bead_id,) = file(database)
    bead = read(database, bead_id)
    bead.title = "mine"
    save(database, bead, 1)
    bead.title = "theirs"
    with pytest.raises(Stale):
        save(database, bead, 1)
    assert read(database, bead_id).title == "mine"


def test_of_ten_edits_of_one_version_one_is_made(database: RunningDatabase) -> None:
    (bead_id,) = file(database)

    def edit(number: int) -> pb.Bead:
        bead = pb.Bead(id=bead_id, project_id="alpha", title=f"title {number}")
        return save(database, bead, 1)

    answers = at_once(10, edit)
    assert sum(isinstance(answer, Stale) for answer in answers) == 9


def test_a_blocked_bead_is_owed_to_nobody_until_it_is_unblocked(
    database: RunningDatabase,
) -> None:
    (bead_id,) = file(database)
    bead = read(database, bead_id)
    bead.state, bead.reason = "blocked", "waits for a decision"
    blocked = save(database, bead, 1)
    assert (blocked.state, blocked.reason) == ("blocked", "waits for a decision")
    dispatcher = database.client("dispatcher")
    rows = dispatcher.lease_outbox("d", 10)
    assert OutboxKind.TASK not in {row.kind for row in rows}
    blocked.state = "open"
    opened = save(database, blocked, 2)
    assert (opened.state, opened.reason) == ("open", "")
    (task,) = [r for r in dispatcher.lease_outbox("d", 10) if r.kind is OutboxKind.TASK]
    assert (task.epoch, task.attempt) == (1, 1)


def test_a_cancelled_bead_takes_its_agent_s_lease_away(database: RunningDatabase) -> None:
    (bead_id,) = file(database)
    agents = database.client("agent-alpha")
    agents.claim_bead(bead_id, 1, "agent-alpha@h")
    bead = read(database, bead_id)
    bead.state, bead.resolution, bead.reason = "closed", "cancelled", "not needed"
    assert save(database, bead, bead.version).resolution == "cancelled"
    with pytest.raises(Stale):
        agents.renew_lease(bead_id, 1, "agent-alpha@h")
    (attempt,) = database.client("control").list_attempts(bead_id)
    assert (attempt.outcome, attempt.reason) == ("cancelled", "not needed")


@pytest.mark.parametrize(
    "wish",
    [
        {"state": "closed", "resolution": "succeeded"},
        {"state": "in_progress"},
        {"state": "asleep"},
        {"resolution": "failed"},
    ],
)
def test_success_failure_and_claims_cannot_be_saved(
    database: RunningDatabase, wish: dict[str, str]
) -> None:
    (bead_id,) = file(database)
    bead = read(database, bead_id)
    for field, value in wish.items():
        setattr(bead, field, value)
    with pytest.raises(IllegalTransition):
        save(database, bead, 1)
    assert read(database, bead_id).version == 1


def test_a_closed_bead_stays_closed_and_a_bead_in_progress_keeps_its_words(
    database: RunningDatabase,
) -> None:
    (bead_id,) = file(database)
    database.client("agent-alpha").claim_bead(bead_id, 1, "agent-alpha@h")
    bead = read(database, bead_id)
    bead.title = "other"
    with pytest.raises(IllegalTransition):
        save(database, bead, 2)
    call(
        database.stub("ingester").RecordResults,
        pb.RecordResultsRequest(
            results=[
                pb.Result(
                    message_id="m", project_id="alpha", bead_id=bead_id, epoch=1,
                    agent_id="agent-alpha@h", failure_class="work", reason="r",
                )
            ]
        ),
    )  # fmt: skip
    bead = read(database, bead_id)
    for state in ("", "open", "blocked", "closed"):
        bead.state, bead.resolution = state, ""
        with pytest.raises(IllegalTransition):
            save(database, bead, bead.version)


def test_a_bead_stays_in_its_project(database: RunningDatabase) -> None:
    (bead_id,) = file(database)
    database.client("control").create_project(Project("beta", "/r"), "corr")
    bead = read(database, bead_id)
    bead.project_id = "beta"
    with pytest.raises(Invalid):
        save(database, bead, 1)


# Transactions that span calls.


def begin(database: RunningDatabase, *, read_only: bool = False, timeout_ms: int = 0) -> str:
    request = pb.BeginTransactionRequest(read_only=read_only, timeout_ms=timeout_ms)
    return call(database.stub("operator").BeginTransaction, request).transaction_id


def roll_back(database: RunningDatabase, id_: str) -> None:
    call(database.stub("operator").Rollback, pb.RollbackRequest(transaction_id=id_))


def commit(database: RunningDatabase, id_: str) -> None:
    call(database.stub("operator").Commit, pb.CommitRequest(transaction_id=id_))


def test_what_a_transaction_saved_is_seen_by_others_when_it_is_committed(
    database: RunningDatabase,
) -> None:
    (bead_id,) = file(database)
    stub = database.stub("operator")
    id_ = begin(database)
    bead = read(database, bead_id)
    bead.title = "edited"
    save(database, bead, 1, transaction_id=id_)
    save(database, pb.Bead(id="n", project_id="alpha", title="n"), 0, transaction_id=id_)
    inside = call(stub.GetBead, pb.GetBeadRequest(id=bead_id, transaction_id=id_)).bead
    assert (inside.title, read(database, bead_id).title) == ("edited", "x")
    listed = call(stub.ListBeads, pb.ListBeadsRequest(transaction_id=id_)).beads
    assert {b.id for b in listed} == {bead_id, "n"}
    commit(database, id_)
    assert read(database, bead_id).title == "edited"
    with pytest.raises(NotFound, match="it was committed"):
        commit(database, id_)


def test_what_a_transaction_saved_is_gone_when_it_is_rolled_back(
    database: RunningDatabase,
) -> None:
    id_ = begin(database)
    save(database, pb.Bead(id="n", project_id="alpha", title="n"), 0, transaction_id=id_)
    roll_back(database, id_)
    with pytest.raises(NotFound):
        read(database, "n")


def test_an_error_undoes_its_call_and_not_the_transaction(database: RunningDatabase) -> None:
    (bead_id,) = file(database)
    id_ = begin(database)
    save(database, pb.Bead(id="n", project_id="alpha", title="n"), 0, transaction_id=id_)
    with pytest.raises(Conflict):
        save(database, pb.Bead(id=bead_id, project_id="alpha", title="n"), 0, transaction_id=id_)
    with pytest.raises(Stale):
        bead = pb.Bead(id=bead_id, project_id="alpha", title="n")
        save(database, bead, 9, transaction_id=id_)
    commit(database, id_)
    assert read(database, "n").title == "n"


def test_no_more_transactions_are_open_than_the_limit(database: RunningDatabase) -> None:
    ids = [begin(database) for _ in range(3)]
    with pytest.raises(Exhausted):
        begin(database)
    roll_back(database, ids.pop())
    ids.append(begin(database, read_only=True))
    for id_ in ids:
        roll_back(database, id_)


def test_a_transaction_that_takes_too_long_is_rolled_back_by_the_service(
    database: RunningDatabase, owner: psycopg.Connection[Any]
) -> None:
    id_ = begin(database, timeout_ms=300)
    save(database, pb.Bead(id="n", project_id="alpha", title="n"), 0, transaction_id=id_)
    # The row is locked by the transaction until the service ends it: this waits for that.
    owner.execute("INSERT INTO bead SELECT 'n', 'alpha', 't', '', '{}', 2, 'open', NULL, '', 0, 1, "
                  "0, 0, 0, '[]', 'c', '', now(), now(), NULL")  # fmt: skip
    with pytest.raises(NotFound, match="expired"):
        commit(database, id_)


def test_a_transaction_is_its_caller_s_alone(database: RunningDatabase) -> None:
    id_ = begin(database)
    with pytest.raises(NotFound):
        call(database.stub("control").GetBead, pb.GetBeadRequest(id="x", transaction_id=id_))
    roll_back(database, id_)


def test_a_transaction_whose_connection_breaks_is_over(
    database: RunningDatabase, owner: psycopg.Connection[Any], infrastructure: Infrastructure
) -> None:
    id_ = begin(database)
    save(database, pb.Bead(id="n", project_id="alpha", title="n"), 0, transaction_id=id_)
    _end_backends(infrastructure, "idle in transaction")
    with pytest.raises(Unavailable):
        save(database, pb.Bead(id="m", project_id="alpha", title="n"), 0, transaction_id=id_)
    with pytest.raises(NotFound, match="connection broke"):
        commit(database, id_)
    with pytest.raises(NotFound):
        read(database, "n")


def _end_backends(infrastructure: Infrastructure, *states: str) -> int:
    login = infrastructure.migration_named(NAME)
    with psycopg.connect(
        host=login.host, port=login.port, dbname=NAME, user="postgres",
        password=infrastructure.superuser_password, autocommit=True,
    ) as connection:  # fmt: skip
        return len(
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE usename = 'loom_service' AND datname = %s AND state = ANY(%s)",
                [NAME, list(states)],
            ).fetchall()
        )


def test_calls_go_on_after_every_connection_was_ended(
    database: RunningDatabase, infrastructure: Infrastructure
) -> None:
    file(database)
    assert _end_backends(infrastructure, "idle", "active") > 0
    answers = at_once(10, lambda _: file(database))
    answers += at_once(10, lambda _: file(database))
    # A call that was under way may say so; it neither hangs nor is answered wrongly.
    assert all(isinstance(answer, list | Unavailable) for answer in answers)
    assert file(database)


# ExecuteQuery.


def ask(
    database: RunningDatabase, sql: str, *values: pb.Value, wait: float = 10.0, **more: Any
) -> Any:
    request = pb.ExecuteQueryRequest(sql=sql, parameters=values, **more)
    return call(database.stub("operator").ExecuteQuery, request, timeout=wait)


def cells(answer: pb.ExecuteQueryResponse) -> list[list[Any]]:
    return [
        [None if v.WhichOneof("kind") == "null" else getattr(v, str(v.WhichOneof("kind")))
         for v in row.values]
        for row in answer.rows
    ]  # fmt: skip


def test_a_query_answers_with_columns_and_values_of_every_kind(
    database: RunningDatabase,
) -> None:
    answer = ask(
        database,
        "SELECT 1 AS i, 2.5::float8 AS r, 'x' AS t, true AS b, NULL AS n, '\\x00ff'::bytea AS y, "
        "'2026-01-02'::date AS d, 1.10::numeric AS m, '{\"a\": [1]}'::jsonb AS j, ARRAY[1,2] AS l, "
        "%s AS p, %s + 1 AS q; ",
        pb.Value(text="it's"),
        pb.Value(integer=41),
    )
    assert list(answer.columns) == list("irtbnydmjlpq")
    assert cells(answer) == [
        [1, 2.5, "x", True, None, b"\x00\xff", "2026-01-02", "1.10", '{"a": [1]}', "[1, 2]",
         "it's", 42]
    ]  # fmt: skip
    assert not answer.truncated


def test_a_query_reads_the_ledger_and_is_written_into_the_audit(
    database: RunningDatabase, owner: psycopg.Connection[Any]
) -> None:
    file(database, 3)
    assert cells(ask(database, "SELECT count(*) FROM bead WHERE title LIKE 'x%'")) == [[3]]
    with pytest.raises(Invalid):
        ask(database, "SELECT nonsense")
    audit = owner.execute("SELECT caller, sql, row_count, error FROM query_audit ORDER BY id")
    first, second = audit.fetchall()
    assert first == ("operator", "SELECT count(*) FROM bead WHERE title LIKE 'x%'", 1, "")
    assert second[:3] == ("operator", "SELECT nonsense", 0)
    assert second[3].startswith("invalid: ")


def test_rows_and_bytes_beyond_a_limit_are_cut_off_and_said_so(
    database: RunningDatabase,
) -> None:
    answer = ask(database, "SELECT generate_series(1, 100)", max_rows=10)
    assert (len(answer.rows), answer.truncated) == (10, True)
    whole = ask(database, "SELECT generate_series(1, 10)", max_rows=10)
    assert (len(whole.rows), whole.truncated) == (10, False)
    most = ask(database, "SELECT generate_series(1, 1000000)")
    assert (len(most.rows), most.truncated) == (5000, True)
    wide = ask(database, "SELECT repeat('x', 1000000) FROM generate_series(1, 100)")
    assert wide.truncated
    assert wide.ByteSize() < 9 * 1024 * 1024


def test_a_value_too_wide_for_an_answer_is_refused_by_the_database(
    database: RunningDatabase,
) -> None:
    with pytest.raises(TooLarge):
        ask(database, "SELECT repeat('x', 20000000)")
    with pytest.raises((TooLarge, DeadlineExceeded)):
        ask(database, "SELECT repeat('x', 400000000 + n) FROM generate_series(1, 9) n", wait=3)


BREAK_OUTS = {
    "a write": "INSERT INTO project SELECT * FROM project",
    "a second statement": "SELECT 1; DELETE FROM bead",
    "a second statement behind a bracket": "SELECT 1) AS a; DELETE FROM bead; SELECT (SELECT 1",
    "a write within WITH": "WITH gone AS (DELETE FROM bead RETURNING *) SELECT * FROM gone",
    "SELECT INTO": "SELECT * INTO stolen FROM bead",
    "a new table": "CREATE TABLE t (i int)",
    "SET ROLE": "SET ROLE loom_service",
    "SET TRANSACTION": "SET TRANSACTION READ WRITE",
    "set_config of the role": "SELECT set_config('role', 'loom_service', false)",
    "set_config of the user": "SELECT set_config('session_authorization', 'postgres', false)",
    "set_config of read-only": "SELECT set_config('transaction_read_only', 'off', false)",
    "COPY to a program": "COPY bead TO PROGRAM 'id'",
    "COPY to standard output": "COPY bead TO STDOUT",
    "a server's file": "SELECT pg_read_file('/etc/passwd')",
    "a directory": "SELECT pg_ls_dir('.')",
    "passwords": "SELECT rolname, rolpassword FROM pg_authid",
    "passwords in a view": "SELECT * FROM pg_shadow",
    "remembered answers": "SELECT * FROM idempotency",
    "a sequence": "SELECT nextval('outbox_id_seq')",
    "a large object's import": "SELECT lo_import('/etc/passwd')",
    "row locks": "SELECT * FROM bead FOR UPDATE",
    "ending others": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE usename = 'loom_service'",
    "reloading": "SELECT pg_reload_conf()",
    "an anonymous block": "DO $$ BEGIN DELETE FROM bead; END $$",
    "a function of its own": "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "VACUUM": "VACUUM bead",
    "EXPLAIN ANALYZE of a write": "EXPLAIN ANALYZE DELETE FROM bead",
    "LISTEN": "LISTEN loom_outbox",
    "COMMIT": "COMMIT",
    "nothing": " ; ",
    "a comment": "-- nothing",
    "NUL": "SELECT 'a\0b'",
}  # fmt: skip


@pytest.mark.parametrize("attempt", BREAK_OUTS)
def test_a_query_can_only_read(
    database: RunningDatabase, owner: psycopg.Connection[Any], attempt: str
) -> None:
    file(database)
    with pytest.raises((Invalid, Forbidden)):
        ask(database, BREAK_OUTS[attempt])
    assert owner.execute("SELECT count(*) FROM bead").fetchone() == (1,)
    assert owner.execute("SELECT count(*) FROM project").fetchone() == (1,)


@pytest.mark.parametrize("pinned", [False, True])
def test_what_a_query_makes_all_the_same_is_rolled_back(
    database: RunningDatabase, owner: psycopg.Connection[Any], pinned: bool
) -> None:
    # PostgreSQL 15 lets a read-only transaction make a large object.
    id_ = begin(database, read_only=True) if pinned else ""
    ask(database, "SELECT lo_create(0)", transaction_id=id_)
    if pinned:
        commit(database, id_)
    assert owner.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone() == (0,)


def test_a_query_that_sleeps_is_ended(database: RunningDatabase) -> None:
    with pytest.raises(DeadlineExceeded):
        ask(database, "SELECT pg_sleep(60)", timeout_ms=300)


def test_a_query_cannot_lift_its_own_time_limit(database: RunningDatabase) -> None:
    with pytest.raises(DeadlineExceeded):
        ask(
            database,
            "SELECT set_config('statement_timeout', '0', true), "
            "CASE WHEN n > 60 THEN pg_sleep(60) END FROM generate_series(1, 100) n",
            timeout_ms=1000,
        )


def test_what_a_query_does_to_its_session_is_gone_after_it(
    database: RunningDatabase, owner: psycopg.Connection[Any]
) -> None:
    ask(
        database,
        "SELECT pg_advisory_lock(77), set_config('application_name', 'mine', false), "
        "set_config('default_transaction_read_only', 'off', false)",
    )
    assert owner.execute("SELECT pg_try_advisory_lock(77)").fetchone() == (True,)
    owner.execute("SELECT pg_advisory_unlock(77)")
    for _ in range(6):
        answer = ask(database, "SELECT current_setting('application_name')")
        assert cells(answer) == [["loom-reader"]]


def test_queries_of_one_read_only_transaction_see_one_moment(database: RunningDatabase) -> None:
    file(database)
    id_ = begin(database, read_only=True)
    count = "SELECT count(*) FROM bead"
    assert cells(ask(database, count, transaction_id=id_)) == [[1]]
    file(database)
    assert cells(ask(database, count, transaction_id=id_)) == [[1]]
    assert cells(ask(database, count)) == [[2]]
    with pytest.raises(Invalid):
        ask(database, "SELECT nonsense", transaction_id=id_)
    ask(database, "SELECT set_config('statement_timeout', '1', true)", transaction_id=id_)
    with pytest.raises(IllegalTransition):
        save(database, pb.Bead(id="n", project_id="alpha", title="n"), 0, transaction_id=id_)
    assert cells(ask(database, count, transaction_id=id_)) == [[1]], "an error undoes its call"
    roll_back(database, id_)


def test_a_transaction_that_writes_takes_no_queries(database: RunningDatabase) -> None:
    id_ = begin(database)
    with pytest.raises(IllegalTransition):
        ask(database, "SELECT 1", transaction_id=id_)
    roll_back(database, id_)
