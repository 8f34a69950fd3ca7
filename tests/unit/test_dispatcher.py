"""The dispatcher between a ledger and a broker in memory."""

import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from loom.clients.database import Page
from loom.dispatcher.dispatcher import GONE_S, Dispatcher
from loom.dispatcher.message import envelope_of
from loom.domain.bead import NewBead
from loom.domain.outbox import OutboxKind, OutboxRow
from loom.domain.project import Project
from loom.errors import Forbidden, Invalid, TooLarge, Unavailable
from loom.messaging import task
from loom.messaging.topology import CORE, EVENTS, MAX_TASK_BYTES, dead_key, of_project, task_key
from loom.telemetry import traces
from loom.telemetry.process import Stopped
from loom.testing.broker import FakeBroker
from loom.testing.ledger import FakeLedger
from loom.testing.stopping import Unhurried

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


class Rows:
    """A ledger that owes given rows, once, and remembers how they were settled."""

    def __init__(self, *rows, projects=("p1",)):
        self.rows, self.projects = list(rows), projects
        self.published, self.unsettled = [], {}
        self.troubles = []

    def lease_outbox(self, owner, limit, wait_ms=0):
        self.trouble("lease")
        leased, self.rows = self.rows[:limit], self.rows[limit:]
        return tuple(leased)

    def settle_outbox(self, owner, published, unsettled=()):
        self.trouble("settle")
        self.published += published
        self.unsettled |= dict(unsettled)
        return len(published), len(unsettled)

    def list_projects(self, page_size=100, cursor=""):
        """One project a page."""
        at = int(cursor or 0)
        more = str(at + 1) if at + 1 < len(self.projects) else ""
        return Page(tuple(Project(p, "x") for p in self.projects[at : at + 1]), more)

    def trouble(self, call):
        if self.troubles and self.troubles[0][0] == call:
            raise self.troubles.pop(0)[1]


def a_row(row_id, project="p1", **changes):
    row = OutboxRow(
        id=row_id,
        kind=OutboxKind.TASK,
        type="task.assigned",
        message_id=f"m{row_id}",
        project_id=project,
        bead_id=f"bd-{row_id}",
        epoch=1,
        attempt=1,
        correlation_id=f"c{row_id}",
        traceparent=TRACEPARENT,
        created_at=datetime(2026, 11, 22, tzinfo=UTC),
        payload={"title": "t", "description": "d", "context": {"timeout_s": 5}},
    )
    return replace(row, **changes)


def an_event(row_id, **changes):
    kind = {"kind": OutboxKind.EVENT, "type": "bead.created", "payload": {"state": "open"}}
    return a_row(row_id, **kind, **changes)


def a_dispatcher(ledger, broker):
    return Dispatcher(ledger, broker.publish, broker.declare, "dispatcher-1-x", 10)


def ids(broker, queue):
    return [envelope.message_id for envelope in broker.messages[queue]]


def test_a_filed_bead_reaches_its_projects_queue_and_is_owed_no_more():
    ledger, broker = FakeLedger(), FakeBroker()
    ledger.create_project(Project("calculator", "/srv/calculator.git"), "c0")
    (bead,) = ledger.create_beads("calculator", [NewBead("Mend it")], "c1", TRACEPARENT).items
    a_dispatcher(ledger, broker).turn(threading.Event())
    (envelope,) = broker.messages[task_key("calculator")]
    got = task.read(envelope.headers, envelope.body)
    assert (got.message.bead_id, got.epoch, got.attempt) == (bead.id, 1, 1)
    assert got.message.task_data.title == "Mend it"
    assert got.message.assigned_to == "agents of calculator"
    assert got.message.correlation_id == "c1"
    assert ledger.lease_outbox("somebody", 10) == ()


def test_the_queues_of_every_project_exist_before_its_first_bead():
    ledger, broker = Rows(projects=("p1", "p2", "p3")), FakeBroker()
    a_dispatcher(ledger, broker).turn(threading.Event())
    for project in ("p1", "p2", "p3"):
        assert {task_key(project), dead_key(project)} <= set(broker.queues)


def test_a_project_is_declared_once():
    ledger, broker = Rows(a_row(1), a_row(2)), FakeBroker()
    dispatcher = a_dispatcher(ledger, broker)
    dispatcher.turn(threading.Event())
    ledger.rows = [a_row(3)]
    dispatcher.turn(threading.Event())
    assert broker.declared == [CORE, of_project("p1")]


def test_a_project_made_a_moment_ago_is_declared_with_its_first_bead():
    ledger, broker = Rows(a_row(1, project="fresh")), FakeBroker()
    a_dispatcher(ledger, broker).turn(threading.Event())
    assert ids(broker, task_key("fresh")) == ["m1"]


def test_tasks_stand_in_the_queue_in_the_ledgers_order():
    ledger, broker = Rows(*(a_row(n) for n in range(1, 30))), FakeBroker()
    a_dispatcher(ledger, broker).turn(threading.Event())
    assert ids(broker, task_key("p1")) == [f"m{n}" for n in range(1, 30)]
    assert ledger.published == list(range(1, 30))


def test_an_event_that_nobody_hears_is_settled():
    ledger, broker = Rows(an_event(1)), FakeBroker()
    a_dispatcher(ledger, broker).turn(threading.Event())
    assert ledger.published == [1]


@pytest.mark.parametrize(
    "bad",
    [
        {"type": "task.unheard_of"},
        {"payload": {"title": 7}},
        {"payload": {"title": "t", "context": {"patch": "x" * MAX_TASK_BYTES}}},
        {"payload": {"title": "\ud800"}},
        {"project_id": "p" * 300},
    ],
    ids=["unknown type", "wrong type", "oversize", "half a surrogate", "a name too long"],
)
def test_a_row_that_makes_no_message_does_not_hold_up_the_others(bad):
    ledger, broker = Rows(a_row(1), a_row(2, **bad), a_row(3)), FakeBroker()
    stopping = Unhurried()
    a_dispatcher(ledger, broker).turn(stopping)
    assert ids(broker, task_key("p1")) == ["m1", "m3"]
    assert ledger.published == [1, 3]
    assert ledger.unsettled[2]
    assert stopping.waits == []


def test_a_row_that_makes_no_message_says_why():
    with pytest.raises(Invalid, match="outbox row 2 makes no task message: type"):
        envelope_of(a_row(2, type="task.unheard_of"), "")
    with pytest.raises(TooLarge, match="limit"):
        envelope_of(a_row(2, payload={"title": "x" * MAX_TASK_BYTES}), "")


def test_a_returned_task_is_owed_again_and_its_queue_is_made_again_once_its_agents_know(
    monkeypatch,
):
    now = [1_000.0]
    monkeypatch.setattr("loom.dispatcher.dispatcher.time.monotonic", lambda: now[0])
    ledger, broker = Rows(a_row(1)), FakeBroker()
    dispatcher = a_dispatcher(ledger, broker)
    dispatcher.turn(threading.Event())
    broker.delete_queue(task_key("p1"))
    ledger.rows = [a_row(2), an_event(3)]
    dispatcher.turn(threading.Event())
    assert ledger.published == [1, 3]
    assert "NO_ROUTE" in ledger.unsettled[2]
    now[0] += GONE_S - 0.1
    ledger.rows = [a_row(2)]
    dispatcher.turn(threading.Event())
    assert task_key("p1") not in broker.messages
    # Not later than a second after the first: what goes on coming does not keep it away.
    now[0] += 0.1
    ledger.rows = [a_row(2)]
    dispatcher.turn(threading.Event())
    assert ids(broker, task_key("p1")) == ["m2"]


def test_while_the_broker_is_away_rows_are_given_back_with_the_reason():
    ledger, broker = Rows(a_row(1)), FakeBroker()
    dispatcher = a_dispatcher(ledger, broker)
    dispatcher.turn(threading.Event())
    broker.away = True
    ledger.rows = [a_row(2), a_row(3)]
    stopping = Unhurried()
    dispatcher.turn(stopping)
    assert set(ledger.unsettled) == {2, 3}
    assert "away" in ledger.unsettled[2]
    assert len(stopping.waits) == 1


def test_after_the_broker_was_away_no_row_is_leased_before_it_is_back():
    ledger, broker = Rows(a_row(1)), FakeBroker(away=True)

    def comes_back():
        assert len(ledger.rows) == 1
        broker.away = len(stopping.waits) < 3

    stopping = Unhurried(comes_back)
    a_dispatcher(ledger, broker).turn(stopping)
    assert ledger.published == [1]
    assert len(stopping.waits) == 3


def test_after_a_lost_connection_all_is_declared_again_and_published_again():
    ledger, broker = Rows(a_row(1), a_row(2)), FakeBroker(lose_after=1)
    dispatcher = a_dispatcher(ledger, broker)
    dispatcher.turn(Unhurried())
    assert set(ledger.unsettled) == {1, 2}
    ledger.rows = [a_row(1), a_row(2)]
    dispatcher.turn(Unhurried())
    assert ledger.published == [1, 2]
    assert broker.declared == [CORE, of_project("p1")] * 2


def test_a_blocked_broker_gets_a_pause():
    ledger, broker = Rows(a_row(1)), FakeBroker(blocked="low on memory")
    stopping = Unhurried()
    a_dispatcher(ledger, broker).turn(stopping)
    assert ledger.unsettled == {1: "low on memory"}
    assert len(stopping.waits) == 1


def test_what_was_confirmed_is_settled_however_long_the_ledger_is_away():
    ledger, broker = Rows(a_row(1)), FakeBroker()
    ledger.troubles = [("settle", Unavailable("away"))] * 4
    stopping = Unhurried()
    a_dispatcher(ledger, broker).turn(stopping)
    assert ledger.published == [1]
    assert len(stopping.waits) == 3
    assert ids(broker, task_key("p1")) == ["m1"]


def test_a_ledger_that_refuses_the_dispatcher_is_waited_for():
    ledger, broker = Rows(a_row(1)), FakeBroker()
    ledger.troubles = [("lease", Forbidden("not you")), ("lease", Unavailable("away"))]
    a_dispatcher(ledger, broker).turn(Unhurried())
    assert ledger.published == [1]


def test_an_answer_too_large_for_one_call_is_asked_for_in_smaller_ones():
    asked = []

    class Heavy(Rows):
        def lease_outbox(self, owner, limit, wait_ms=0):
            asked.append(limit)
            if limit > 100:
                raise Unavailable("too large")
            return super().lease_outbox(owner, limit, wait_ms)

    ledger = Heavy(a_row(1))
    a_dispatcher(ledger, FakeBroker()).turn(Unhurried())
    assert ledger.published == [1]
    assert asked == [500, 250, 125, 62]


def test_told_to_stop_it_settles_the_batch_in_hand():
    ledger, broker = Rows(a_row(1)), FakeBroker()
    dispatcher, stopping = a_dispatcher(ledger, broker), threading.Event()
    original = broker.publish

    def publish_while_stopping(envelopes, timeout_s):
        stopping.set()
        return original(envelopes, timeout_s)

    dispatcher = Dispatcher(ledger, publish_while_stopping, broker.declare, "d", 10)
    dispatcher.run(stopping)
    assert ledger.published == [1]


def test_told_to_stop_it_does_not_wait_for_a_ledger_that_is_away():
    ledger, broker = Rows(a_row(1)), FakeBroker()
    ledger.troubles = [("settle", Unavailable("away"))] * 2
    stopping = threading.Event()
    dispatcher = a_dispatcher(ledger, broker)
    dispatcher.turn(Unhurried())
    ledger.rows, ledger.troubles = [a_row(2)], [("settle", Unavailable("away"))] * 2
    stopping.set()
    with pytest.raises(Stopped):
        dispatcher.dispatch([a_row(2)], stopping)
    assert len(ledger.troubles) == 1


def test_a_task_carries_the_trace_on_under_a_span_of_the_dispatchers_own():
    traces.configure("test")
    ledger, broker = Rows(a_row(1)), FakeBroker()
    a_dispatcher(ledger, broker).turn(threading.Event())
    header = broker.messages[task_key("p1")][0].headers["traceparent"]
    assert header.split("-")[1] == TRACE_ID
    assert header != TRACEPARENT


def test_a_task_without_a_trace_has_no_trace():
    ledger, broker = Rows(a_row(1, traceparent="")), FakeBroker()
    a_dispatcher(ledger, broker).turn(threading.Event())
    assert "traceparent" not in broker.messages[task_key("p1")][0].headers


def test_an_event_carries_its_rows_trace():
    envelope = envelope_of(an_event(1), "unused")
    assert envelope.headers["traceparent"] == TRACEPARENT
    assert (envelope.exchange, envelope.routing_key) == (EVENTS, f"{EVENTS}.bead.created")
