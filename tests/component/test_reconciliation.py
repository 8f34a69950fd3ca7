"""Whether ledger and broker agree: the decision, the engine's turn, the API and the command."""

from __future__ import annotations

import json
from collections.abc import Sequence

import httpx
import pytest
from click.testing import CliRunner, Result
from control_api import BEARER, TOKEN
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from loom.broker.confirms import Published, Status
from loom.cli import cli
from loom.cli.profile import Profile
from loom.control.app import create_app
from loom.domain.bead import NewBead
from loom.domain.lifecycle import State
from loom.domain.project import Project
from loom.domain.reconciliation import (
    Account,
    Depth,
    Held,
    Mended,
    Reconciliation,
    account,
    compare,
    to_owe,
)
from loom.engine.reconciler import Reconciler
from loom.errors import Unavailable
from loom.messaging.envelope import Envelope
from loom.messaging.topology import CORE, METRICS, metric_key, of_project, queues_of, task_key
from loom.rpc import reconciliation as codec
from loom.rpc.callers import digest
from loom.settings import ControlSettings
from loom.testing.broker import FakeBroker
from loom.testing.ledger import FakeLedger

QUEUE = task_key("shop")
COUNTS = st.integers(0, 9)


def tasks(ready: int, unacked: int | None = 0) -> Depth:
    return Depth(QUEUE, ready, unacked)


# The decision.


@given(waiting=COUNTS, running=COUNTS, gone=COUNTS, unclaimed=COUNTS)
def test_exactly_what_the_broker_lost_is_missed(
    waiting: int, running: int, gone: int, unclaimed: int
) -> None:
    """Some of those that wait may be with an agent that has not claimed them yet."""
    lost = min(gone, waiting)
    there = waiting - lost
    fetched = min(unclaimed, there)
    held = Held("shop", dispatched=waiting, overdue=waiting, running=running)
    depth = tasks(there - fetched, running + fetched)
    assert account(held, depth, None).lost == lost


@given(COUNTS, COUNTS, COUNTS, st.none() | COUNTS)
def test_an_empty_queue_has_lost_everything_that_is_overdue(
    overdue: int, younger: int, running: int, unacked: int | None
) -> None:
    held = Held("shop", dispatched=overdue + younger, overdue=overdue, running=running)
    nobody_fetched = None if unacked is None else min(unacked, running)
    assert account(held, tasks(0, nobody_fetched), None).unaccounted == overdue


def test_attempts_that_lost_their_message_take_none_from_the_beads_that_wait() -> None:
    held = Held("shop", dispatched=2, overdue=2, running=3)
    found = account(held, tasks(2, unacked=1), None)
    assert found.lost == 0
    assert found.differences == ("3 attempts run, and 1 messages are unacknowledged",)


def test_more_messages_than_beads_are_nothing_to_mend() -> None:
    assert account(Held("shop", overdue=1, dispatched=1), tasks(9), None).unaccounted == 0


def test_a_queue_that_is_gone_is_named_and_its_beads_are_missed() -> None:
    found = account(Held("shop", overdue=2), Depth(QUEUE, unacked=0, missing=True), None)
    assert found.lost == 2
    assert f"there is no queue {QUEUE}" in found.differences


def test_every_difference_is_said_in_words() -> None:
    held = Held("shop", overdue=3, stuck=2, expired=1, dead=4)
    found = account(held, tasks(1), Depth("dead", ready=5, unacked=0))
    assert found.unaccounted == 4
    assert found.differences == (
        "3 beads wait in the queue for too long, and 2 messages are gone",
        "2 beads are neither owed, dispatched nor running",
        "1 leases ended and nobody took note of it",
        "5 dead letters stand in the queue, and the ledger has 4",
    )


def test_only_projects_that_lost_something_are_owed_anew() -> None:
    held = [Held("shop", overdue=1), Held("bank", overdue=1), Held("pub", stuck=1)]
    depths = {"shop": (tasks(0), None), "bank": (tasks(1), None), "pub": (tasks(0), None)}
    accounts = compare(held, depths)
    assert [each.held.project_id for each in accounts] == ["bank", "pub", "shop"]
    assert to_owe(accounts) == ("shop",)


def test_a_reconciliation_survives_its_way_over_the_wire() -> None:
    accounts = (
        Account(
            Held("shop", 1, 2, 3, 4, 5, 6, 7),
            tasks(8, None),
            Depth("dead", missing=True),
            9,
            ("a",),
        ),
        Account(Held("bank")),
    )
    done = Reconciliation(accounts, Mended(1, 2, 3))
    assert codec.from_pb(codec.to_pb(done)) == done


# The engine's turn.


class Stand:
    """A ledger and a broker in memory, with one project and dispatched beads."""

    def __init__(self, *titles: str) -> None:
        self.ledger = FakeLedger()
        self.broker = FakeBroker()
        self.broker.declare([CORE, of_project("shop")])
        self.ledger.create_project(Project("shop", "/srv/shop.git"), "corr")
        self.beads = self.ledger.create_beads("shop", [NewBead(t) for t in titles], "corr").items
        rows = self.ledger.lease_outbox("d", 1000)
        self.ledger.settle_outbox("d", [row.id for row in rows])
        self.ready = len(titles)
        self.published: list[Envelope] = []

    def read(self, queues: Sequence[str]) -> list[Depth]:
        if self.broker.away:
            raise Unavailable("the broker in memory is away")
        return [Depth(queue, self.ready if queue == QUEUE else 0, 0) for queue in queues]

    def publish(self, envelopes: Sequence[Envelope], _timeout_s: float) -> list[Published]:
        self.published += envelopes
        return [Published(Status.CONFIRMED)] * len(envelopes)

    def reconciler(self, *, repair: bool = True) -> Reconciler:
        return Reconciler(self.ledger, self.read, self.publish, grace_s=60, repair=repair)

    def owed(self) -> int:
        return self.ledger.reconcile([]).accounts[0].held.owed


def test_the_engine_publishes_the_number_unaccounted_for_and_it_is_0() -> None:
    stand = Stand("one", "two")
    stand.ledger.advance(61)
    assert stand.reconciler().look() is False
    (metric,) = stand.published
    assert (metric.exchange, metric.routing_key) == (METRICS, metric_key("engine"))
    assert json.loads(metric.body)["value"] == 0


def test_the_engine_mends_what_it_finds_twice() -> None:
    stand = Stand("one", "two")
    stand.ready = 0
    stand.ledger.advance(61)
    reconciler = stand.reconciler()
    with capture_logs() as logs:
        reconciler.look()
    assert stand.owed() == 0
    assert [(e["unaccounted"], e["log_level"]) for e in logs if e["event"] == "reconciled"] == [
        (2, "warning")
    ]
    reconciler.look()
    assert stand.owed() == 2
    reconciler.look()
    assert [json.loads(metric.body)["value"] for metric in stand.published] == [2, 2, 0]


def test_the_engine_mends_nothing_when_it_may_not() -> None:
    stand = Stand("one")
    stand.ready = 0
    stand.ledger.advance(61)
    reconciler = stand.reconciler(repair=False)
    for _ in range(3):
        reconciler.look()
    assert stand.owed() == 0


def test_the_engine_decides_nothing_without_the_brokers_counts() -> None:
    stand = Stand("one")
    stand.broker.away = True
    stand.ledger.advance(61)
    reconciler = stand.reconciler()
    for _ in range(2):
        with pytest.raises(Unavailable):
            reconciler.look()
    assert stand.owed() == 0


def test_counts_that_are_old_miss_nothing_that_is_younger() -> None:
    stand = Stand("one")
    stand.ledger.advance(65)
    old = [Depth(queue, 0, 0, age_s=10) for queue in queues_of(["shop"])]
    assert stand.ledger.reconcile(old, grace_s=60).unaccounted == 0
    stand.ledger.advance(6)
    assert stand.ledger.reconcile(old, grace_s=60).unaccounted == 1


# The API and the command.


class Shell:
    """The command over the API in this process, over a stand."""

    def __init__(self, stand: Stand, *, broker: bool = True) -> None:
        settings = ControlSettings(token_sha256=digest(TOKEN))
        more = {"read_depths": stand.read} if broker else {}
        self.app = create_app(stand.ledger, settings, **more)
        self.profile = Profile("http://loom", TOKEN, httpx.WSGITransport(self.app))

    def run(self, *words: str) -> Result:
        with capture_logs():
            return CliRunner().invoke(cli, ["reconcile", *words], obj=self.profile)


def test_a_stack_that_agrees_with_itself_is_exit_code_0() -> None:
    result = Shell(Stand("one")).run("--grace", "0")
    assert result.exit_code == 0, result.output
    assert "0 unaccounted for" in result.output


def test_a_lost_message_is_exit_code_1_until_it_is_mended() -> None:
    stand = Stand("one", "two")
    stand.ready = 0
    shell = Shell(stand)
    found = shell.run("--grace", "0", "--json")
    document = json.loads(found.stdout)
    assert (found.exit_code, document["unaccounted"]) == (1, 2)
    assert document["projects"][0]["ledger"]["overdue"] == 2
    assert shell.run("--grace", "0").output.endswith("loom reconcile --repair mends it\n")

    mended = shell.run("--grace", "0", "--repair")
    assert mended.exit_code == 0, mended.output
    assert "mended: 2 owed again" in mended.output
    assert shell.run("--grace", "0").exit_code == 0
    assert all(bead.state is State.OPEN for bead in stand.ledger.list_beads().items)


def test_the_default_grace_leaves_what_was_just_dispatched_alone() -> None:
    stand = Stand("one")
    stand.ready = 0
    assert Shell(stand).run().exit_code == 0


def test_a_control_plane_without_a_broker_says_what_it_needs() -> None:
    result = Shell(Stand("one"), broker=False).run()
    assert result.exit_code == 5
    assert "set LOOM_BROKER_*" in result.output


@pytest.mark.parametrize("body", [{"repair": "yes"}, {"grace_s": -1}, {"force": True}, []])
def test_a_request_that_says_something_else_is_refused(body: object) -> None:
    client = Shell(Stand("one")).app.test_client()
    with capture_logs():
        answer = client.post("/api/v1/reconcile", json=body, headers=BEARER)
    assert answer.status_code == 422
