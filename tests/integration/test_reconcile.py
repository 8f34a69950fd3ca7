"""Reconciliation on the real parts: RabbitMQ, PostgreSQL, and Loom's own processes between."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pika
import psycopg
import pytest
from emptying import empty
from looking import until

from loom.broker.connection import parameters
from loom.broker.consumer import Consumer
from loom.broker.declare import declare
from loom.broker.depths import Depths
from loom.broker.publisher import Publisher
from loom.broker.state import Management
from loom.clients.database import DatabaseClient
from loom.database import migrate
from loom.domain.bead import Bead, NewBead
from loom.domain.evidence import Outcome, Step
from loom.domain.identity import new_message_id
from loom.domain.lifecycle import Resolution, State
from loom.domain.outbox import ClaimVerdict
from loom.domain.project import Project
from loom.domain.reconciliation import Reconciliation
from loom.errors import Unavailable
from loom.messaging import result, task
from loom.messaging.envelope import Envelope
from loom.messaging.topology import CORE, METRICS, metric_key, of_project, queues_of, task_key
from loom.settings import BrokerSettings
from loom.testing.database import RunningDatabase, running_database, token
from loom.testing.infrastructure import Infrastructure
from loom.testing.service import Service, broker_environment

PROJECT = "reconciled"
QUEUE = task_key(PROJECT)
AGENT = f"agent-{PROJECT}@test"
PROVEN = Outcome(True, (Step("test", ("true",), 0, 1.0, "ok"),))
NAME = "reconcile"


@pytest.fixture(scope="module")
def infrastructure(infrastructure: Infrastructure) -> Infrastructure:
    """The servers, with a vhost of this file's own where each user has its permissions."""
    return infrastructure.on_vhost("reconcile")


@pytest.fixture(scope="module")
def ledger(infrastructure: Infrastructure) -> Iterator[RunningDatabase]:
    """The real database service on a database of this file's own."""
    settings = infrastructure.make_database(NAME)
    migrate.upgrade(infrastructure.migration_named(NAME))
    with running_database(settings, (PROJECT,)) as running:
        running.client("control").create_project(Project(PROJECT, "/srv/r.git"), "corr")
        yield running


@pytest.fixture
def broker(infrastructure: Infrastructure) -> Iterator[BrokerSettings]:
    """The file's own vhost, with the project's queues empty."""
    declare(infrastructure.broker, "test", [CORE, of_project(PROJECT)])
    purge(infrastructure)
    yield infrastructure.broker
    purge(infrastructure)


@pytest.fixture
def sql(infrastructure: Infrastructure) -> Iterator[psycopg.Connection]:
    """The database as its owner sees it."""
    owner = infrastructure.migration_named(NAME)
    with psycopg.connect(
        host=owner.host, port=owner.port, dbname=owner.name, user=owner.user,
        password=owner.password.get_secret_value(), autocommit=True,
    ) as connection:  # fmt: skip
        yield connection


@pytest.fixture
def control(ledger: RunningDatabase, sql: psycopg.Connection) -> DatabaseClient:
    """The ledger as the control plane sees it, without a bead."""
    empty(sql, "bead, attempt, outbox")
    return ledger.client("control")


def purge(infrastructure: Infrastructure) -> None:
    """Lose every task, as an operator may by hand."""
    with infrastructure.management() as api:
        api.delete(f"/api/queues/{infrastructure.broker.vhost}/{QUEUE}/contents").raise_for_status()


def environment(
    infrastructure: Infrastructure, service: str, ledger: RunningDatabase
) -> dict[str, str]:
    return {
        **broker_environment(infrastructure.broker_as(service)),
        "LOOM_LEDGER_TARGET": ledger.target,
        "LOOM_LEDGER_TOKEN": token(service),
    }


def file(control: DatabaseClient, count: int) -> tuple[Bead, ...]:
    return control.create_beads(PROJECT, [NewBead(f"bead {n}") for n in range(count)], "c").items


def compared(
    ledger: RunningDatabase, broker: BrokerSettings, *, repair: bool = False
) -> Reconciliation:
    """What `loom reconcile --grace 0` asks, by counts that are of this moment."""
    depths = Depths(broker, "test").read(queues_of([PROJECT]))
    return ledger.client("operator").reconcile(depths, repair=repair, grace_s=0)


def work_off(ledger: RunningDatabase, broker: BrokerSettings, beads: tuple[Bead, ...]) -> None:
    """Be the agent of the project until every one of the beads is closed."""
    agent, control = ledger.client(f"agent-{PROJECT}"), ledger.client("control")
    publisher = Publisher(broker, "test")
    left = {bead.id for bead in beads}
    stopping = threading.Event()
    for taken in Consumer(broker, "test", QUEUE, 10).batches(10, 0.05, stopping):
        for delivery in taken.deliveries:
            asked = task.read(delivery.headers, delivery.body)
            claim = agent.claim_bead(
                asked.message.bead_id, asked.epoch, AGENT, redelivered=delivery.redelivered
            )
            if claim.verdict is ClaimVerdict.GRANTED:
                publisher.publish([_report(asked, claim.epoch)], 10)
                left.discard(asked.message.bead_id)
            taken.ack([delivery])
        if not left:
            stopping.set()
    publisher.close()
    until(lambda: all(control.get_bead(bead.id).state is State.CLOSED for bead in beads))


def _report(asked: task.Task, epoch: int) -> Envelope:
    message = result.report(
        PROVEN, message_id=new_message_id(), project_id=PROJECT, bead_id=asked.message.bead_id,
        agent_id=AGENT, epoch=epoch, correlation_id="corr", timestamp=datetime.now(UTC),
    )  # fmt: skip
    return result.to_envelope(message)


@contextmanager
def metrics_of(infrastructure: Infrastructure, service: str) -> Iterator[Callable[[], Any]]:
    """Listen to what a service measures: a call gives the next number."""
    connection = pika.BlockingConnection(parameters(infrastructure.broker, "test"))
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, METRICS, metric_key(service))
    arriving = channel.consume(queue, auto_ack=True, inactivity_timeout=30)
    yield lambda: json.loads(next(arriving)[2])
    connection.close()


def test_a_queue_purged_by_hand_is_noticed_mended_and_every_bead_ends(
    infrastructure: Infrastructure,
    ledger: RunningDatabase,
    control: DatabaseClient,
    broker: BrokerSettings,
) -> None:
    with (
        Service("loom.dispatcher", environment(infrastructure, "dispatcher", ledger)) as dispatcher,
        Service("loom.ingester", environment(infrastructure, "ingester", ledger)) as ingester,
    ):
        beads = file(control, 5)
        for bead in beads:
            dispatcher.wait_for("bead_dispatched", bead_id=bead.id)
        until(lambda: compared(ledger, broker).accounts[0].held.dispatched == 5)
        assert compared(ledger, broker).unaccounted == 0

        purge(infrastructure)
        assert compared(ledger, broker).unaccounted == 5
        assert compared(ledger, broker, repair=True).mended.reowed == 5
        until(lambda: compared(ledger, broker).accounts[0].held.dispatched == 5)
        assert compared(ledger, broker).unaccounted == 0

        work_off(ledger, broker, beads)
        ended = [control.get_bead(bead.id) for bead in beads]
        assert {bead.resolution for bead in ended} == {Resolution.SUCCEEDED}
        assert {bead.epoch for bead in ended} == {1}
        assert (dispatcher.stop(), ingester.stop()) == (0, 0)


def test_the_engine_finds_and_mends_lost_messages_by_itself_and_publishes_the_number(
    infrastructure: Infrastructure,
    ledger: RunningDatabase,
    control: DatabaseClient,
    broker: BrokerSettings,
) -> None:
    settings = environment(infrastructure, "engine", ledger) | {
        "LOOM_RECONCILE_EVERY_S": "0.2",
        "LOOM_RECONCILE_GRACE_S": "0",
    }
    with Service("loom.dispatcher", environment(infrastructure, "dispatcher", ledger)) as d:
        beads = file(control, 3)
        for bead in beads:
            d.wait_for("bead_dispatched", bead_id=bead.id)
        until(lambda: compared(ledger, broker).accounts[0].held.dispatched == 3)
        assert d.stop() == 0
    purge(infrastructure)
    with (
        metrics_of(infrastructure, "engine") as next_metric,
        Service("loom.engine", settings) as engine,
    ):
        engine.wait_for("reconciled", unaccounted=3, reowed=0)
        engine.wait_for("reconciled", unaccounted=3, reowed=3)
        engine.wait_for("reconciled", unaccounted=0)
        assert next_metric()["value"] == 3
        assert engine.stop() == 0
    assert {control.get_bead(bead.id).state for bead in beads} == {State.OPEN}
    assert compared(ledger, broker).accounts[0].held.owed == 3


def test_messages_that_an_agent_holds_are_counted_by_the_management_api(
    infrastructure: Infrastructure,
    ledger: RunningDatabase,
    control: DatabaseClient,
    broker: BrokerSettings,
) -> None:
    counting = infrastructure.broker_as("control")
    depths = Depths(counting, "test", infrastructure.management_url)
    with Service("loom.dispatcher", environment(infrastructure, "dispatcher", ledger)) as d:
        beads = file(control, 2)
        for bead in beads:
            d.wait_for("bead_dispatched", bead_id=bead.id)
        assert d.stop() == 0
    stopping = threading.Event()
    for taken in Consumer(broker, "test", QUEUE, 1).batches(1, 0.05, stopping):
        assert len(taken.deliveries) == 1
        until(lambda: [(d.ready, d.unacked) for d in depths.read([QUEUE])] == [(1, 1)])
        ledger.client(f"agent-{PROJECT}").claim_bead(beads[0].id, 1, AGENT)
        found = ledger.client("operator").reconcile(depths.read([QUEUE]), grace_s=0)
        assert found.unaccounted == 0
        stopping.set()
    until(lambda: [d.ready for d in Depths(broker, "test").read([QUEUE])] == [2])


def test_depths_need_no_permission_and_name_a_queue_that_is_not_there(
    infrastructure: Infrastructure, broker: BrokerSettings
) -> None:
    gone = task_key("never-made")
    for management_url in ("", infrastructure.management_url, "http://127.0.0.1:1"):
        depths = Depths(infrastructure.broker_as("control"), "test", management_url)
        until(lambda: depths.read([QUEUE])[0].ready == 0)  # noqa: B023 - the API counts late
        there, missing = depths.read([QUEUE, gone])
        assert (there.queue, there.missing) == (QUEUE, False)
        assert (missing.queue, missing.ready, missing.unacked, missing.missing) == (
            gone, 0, 0, True,
        )  # fmt: skip


def test_the_control_plane_may_read_nodes_consumers_and_rates(
    infrastructure: Infrastructure, broker: BrokerSettings
) -> None:
    # The queue is in the list once the API has counted it.
    look = Management(infrastructure.broker_as("control"), infrastructure.management_url).read
    until(lambda: look().queues[QUEUE].consumers == 0 if QUEUE in look().queues else False)
    (node,) = look().nodes
    assert node.running
    assert node.troubles == ()
    assert node.memory_limit > node.memory_used > 0
    with pytest.raises(Unavailable, match="tag `monitoring`"):
        Management(infrastructure.broker_as("ingester"), infrastructure.management_url).read()
    with pytest.raises(Unavailable, match="does not answer"):
        Management(infrastructure.broker, "http://127.0.0.1:1").read()


def test_a_broker_that_is_away_has_no_depths(infrastructure: Infrastructure) -> None:
    away = infrastructure.broker.model_copy(update={"port": 1})
    with pytest.raises(Unavailable):
        Depths(away, "test").read([QUEUE])


def test_what_is_neither_owed_nor_running_is_reopened(
    sql: psycopg.Connection,
    ledger: RunningDatabase,
    control: DatabaseClient,
    broker: BrokerSettings,
) -> None:
    forgotten, orphaned = file(control, 2)
    ledger.client(f"agent-{PROJECT}").claim_bead(orphaned.id, 1, AGENT)
    ids = [forgotten.id, orphaned.id]
    sql.execute("DELETE FROM outbox WHERE kind = 'task' AND bead_id = ANY(%s)", (ids,))
    sql.execute(
        "UPDATE attempt SET outcome = 'lost', finished_at = now() WHERE bead_id = %s",
        (orphaned.id,),
    )
    assert compared(ledger, broker).unaccounted == 2
    assert compared(ledger, broker, repair=True).mended.reopened == 2
    account = compared(ledger, broker).accounts[0]
    assert (account.unaccounted, account.held.owed) == (0, 2)
    assert {control.get_bead(id_).state for id_ in ids} == {State.OPEN}
    assert ledger.client(f"agent-{PROJECT}").claim_bead(orphaned.id, 2, AGENT).epoch == 2
