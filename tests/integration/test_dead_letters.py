"""Dead letters between a real broker and the real ledger: recorded, replayed, discarded, swept."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pika
import pytest
from test_broker import OddProperties

from loom.broker.consumer import Consumer
from loom.broker.declare import declare
from loom.broker.publisher import Publisher
from loom.broker.taking import take
from loom.database import migrate
from loom.dispatcher.sweeper import Sweeper
from loom.domain.audit import Intervention
from loom.domain.bead import NewBead
from loom.domain.evidence import Outcome
from loom.domain.identity import new_message_id
from loom.domain.lifecycle import State
from loom.domain.project import Project
from loom.domain.replay import LetterState
from loom.messaging import deadletter, result
from loom.messaging.envelope import Envelope
from loom.messaging.topology import (
    CORE,
    DEAD,
    TASKS,
    dead_key,
    of_project,
    task_key,
)
from loom.testing.database import running_database, token
from loom.testing.service import Service, broker_environment

BY = Intervention("ada", "it is mended")
PROJECT = "parish"
TIMEOUT_S = 10


@pytest.fixture(scope="module")
def infrastructure(infrastructure):
    """The servers, with a vhost of this file's own where each user has its permissions."""
    return infrastructure.on_vhost("dead_letters")


@pytest.fixture(scope="module")
def ledger(infrastructure):
    """The real database service on a database of this file's own."""
    settings = infrastructure.make_database("dead_letters")
    migrate.upgrade(infrastructure.migration_named("dead_letters"))
    with running_database(settings, (PROJECT,)) as running:
        running.client("control").create_project(Project(PROJECT, "/srv/parish.git"), "c")
        yield running


@pytest.fixture(scope="module")
def control(ledger):
    return ledger.client("control")


@pytest.fixture
def broker(infrastructure, control):
    """The file's own vhost, with the project's queues as empty as they were made, and nothing
    owed to them by beads that another test left."""
    for bead in control.list_beads(PROJECT, page_size=500).items:
        if bead.state != "closed":
            control.cancel_bead(bead.id, BY)
    declare(infrastructure.broker, "test", [CORE, of_project(PROJECT)])
    for queue in (task_key(PROJECT), dead_key(PROJECT)):
        take(infrastructure.broker, "test", queue, lambda _: True)
    return infrastructure.broker


@pytest.fixture
def publisher(broker):
    publisher = Publisher(broker, "test")
    yield publisher
    publisher.close()


@pytest.fixture
def services(infrastructure, ledger, broker):
    """Dispatcher, ingester and engine as processes."""

    def environment(service):
        return {
            **broker_environment(infrastructure.broker_as(service)),
            "LOOM_LEDGER_TARGET": ledger.target,
            "LOOM_LEDGER_TOKEN": token(service),
        }

    def bare(service):
        return {k: v for k, v in environment(service).items() if not k.startswith("LOOM_BROKER")}

    with (
        Service("loom.dispatcher", environment("dispatcher")) as dispatcher,
        Service("loom.ingester", environment("ingester")) as ingester,
        Service("loom.engine", bare("engine")) as engine,
    ):
        yield dispatcher, ingester, engine


def publish(publisher, *envelopes):
    assert all(outcome.confirmed for outcome in publisher.publish(envelopes, TIMEOUT_S))


def a_message(number, **headers):
    return Envelope(
        DEAD, dead_key(PROJECT), f"{number}".encode(), f"m{number}", "c",
        {deadletter.REASON: "malformed", deadletter.QUEUE: task_key(PROJECT)} | headers,
    )  # fmt: skip


def standing(broker, queue):
    """What stands in a queue, in any order; it stays there."""
    seen = []
    take(broker, "test", queue, lambda delivery: bool(seen.append(delivery)))
    return seen


def next_in(broker, queue, wanted=lambda _delivery: True):
    """The next message of a queue that is wanted; it and those before it are acknowledged."""
    stopping = threading.Event()
    batches = Consumer(broker, "test", queue, 1).batches(1, 0.05, stopping)
    for taken in batches:
        taken.ack(taken.deliveries)
        if wanted(taken.deliveries[0]):
            break
    stopping.set()
    list(batches)
    return taken.deliveries[0]


def letter_of(control, message_id):
    (found,) = [e for e in control.list_dead_letters().items if e.message_id == message_id]
    return found


def file_bead(control):
    return control.create_beads(PROJECT, [NewBead("Mend it")], "corr").items[0]


# Taking messages out of a queue.


def test_only_what_is_wanted_is_taken_and_the_rest_stays(broker, publisher):
    publish(publisher, *map(a_message, range(20)))
    taken = take(broker, "test", dead_key(PROJECT), lambda d: int(d.body) % 3 == 0)
    assert [int(d.body) for d in taken] == [0, 3, 6, 9, 12, 15, 18]
    left = sorted(int(d.body) for d in standing(broker, dead_key(PROJECT)))
    assert left == [n for n in range(20) if n % 3]


def test_a_queue_that_is_not_there_has_nothing_to_take(broker):
    assert take(broker, "test", "loom.dead.nowhere", lambda _: True) == []


def test_headers_that_nobody_can_decode_do_not_hold_up_the_others(broker, publisher):
    login = pika.PlainCredentials(broker.username, broker.password.get_secret_value())
    where = pika.ConnectionParameters(broker.host, broker.port, broker.vhost, login)
    with pika.BlockingConnection(where) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(DEAD, dead_key(PROJECT), b"odd", OddProperties())
    publish(publisher, a_message(1))
    taken = take(broker, "test", dead_key(PROJECT), lambda _: True)
    assert {delivery.body for delivery in taken} == {b"odd", b"1"}


# Sweeping.


def test_the_sweeper_removes_what_is_dealt_with_and_nothing_else(
    ledger, control, broker, publisher
):
    envelopes = [a_message(100 + n) for n in range(4)]
    publish(publisher, *envelopes)
    ledger.client("ingester").record_dead_letters(
        [deadletter.read(d) for d in standing(broker, dead_key(PROJECT))]
    )
    control.discard_dead_letter(letter_of(control, "m101").id, BY)
    control.discard_dead_letter(letter_of(control, "m103").id, BY)
    sweeper = Sweeper(
        ledger.client("dispatcher"), lambda queue, wanted: take(broker, "test", queue, wanted)
    )
    assert sweeper.turn() == 2
    assert {d.message_id for d in standing(broker, dead_key(PROJECT))} == {"m100", "m102"}
    assert sweeper.turn() == 0


# The whole way.


def test_a_beads_letter_blocks_it_is_replayed_and_its_copy_goes(
    control, broker, publisher, services
):
    dispatcher, ingester, _ = services
    bead = file_bead(control)
    dispatcher.wait_for("bead_dispatched", bead_id=bead.id)
    task = next_in(broker, task_key(PROJECT))
    publish(publisher, deadletter.to_envelope(task, "malformed", "nobody reads it", "x"))
    ingester.wait_for("dead_letter", bead_id=bead.id)
    assert control.get_bead(bead.id).state is State.BLOCKED
    letter = letter_of(control, task.message_id)
    assert len(standing(broker, dead_key(PROJECT))) == 1
    control.replay_dead_letter(letter.id, BY)
    again = next_in(broker, task_key(PROJECT))
    assert (again.headers["id"], again.headers["epoch"]) == (bead.id, 1)
    assert again.message_id != task.message_id
    dispatcher.wait_for("dead_letters_swept", queue=dead_key(PROJECT))
    assert standing(broker, dead_key(PROJECT)) == []


def test_a_message_that_the_broker_gave_up_comes_back_whole(control, broker, publisher, services):
    _, ingester, _ = services
    body = bytes(range(256)) * 2_500
    foreign = Envelope(
        TASKS, task_key(PROJECT), body, new_message_id(), "corr-f", {"task": "other", "n": 7},
        "application/octet-stream",
    )  # fmt: skip
    publish(publisher, foreign)
    reject(broker, task_key(PROJECT), foreign.message_id)
    ingester.wait_for("dead_letter", message_id=foreign.message_id)
    letter = letter_of(control, foreign.message_id)
    assert (letter.reason, letter.state, letter.size) == ("rejected", LetterState.OPEN, len(body))
    assert "rejected" in control.get_dead_letter(letter.id).deaths
    control.replay_dead_letter(letter.id, BY)
    back = next_in(broker, task_key(PROJECT), lambda taken: taken.headers.get("task") == "other")
    assert back.body == body
    assert back.headers == {"task": "other", "n": 7}
    assert (back.content_type, back.correlation_id) == ("application/octet-stream", "corr-f")


def test_a_group_is_replayed_behind_a_canary_by_the_engine(
    ledger, control, broker, publisher, services
):
    dispatcher, ingester, engine = services
    beads = [file_bead(control) for _ in range(3)]
    for bead in beads:
        dispatcher.wait_for("bead_dispatched", bead_id=bead.id)
    for _ in beads:
        task = next_in(broker, task_key(PROJECT))
        publish(publisher, deadletter.to_envelope(task, "oversize", "a cause of its own", "x"))
    for bead in beads:
        ingester.wait_for("dead_letter", bead_id=bead.id)
    (fingerprint,) = {
        e.fingerprint for e in control.list_dead_letters().items if e.reason == "oversize"
    }
    control.replay_dead_letter_group(fingerprint, BY, canary=True)
    first = next_in(broker, task_key(PROJECT))
    agent = ledger.client(f"agent-{PROJECT}")
    agent.claim_bead(first.headers["id"], first.headers["epoch"], "agent-parish@test")
    engine.wait_for("replays_advanced", ended=1)
    others = {next_in(broker, task_key(PROJECT)).headers["id"] for _ in range(2)}
    assert others | {first.headers["id"]} == {bead.id for bead in beads}


def test_a_refused_result_blocks_its_bead_at_once(ledger, control, broker, publisher, services):
    _, ingester, _ = services
    bead = file_bead(control)
    claim = ledger.client(f"agent-{PROJECT}").claim_bead(bead.id, 1, "agent-parish@test")
    unproven = result.report(
        Outcome(succeeded=True),
        message_id=new_message_id(), project_id=PROJECT, bead_id=bead.id,
        agent_id="agent-parish@test", epoch=claim.epoch, correlation_id="corr",
        timestamp=datetime.now(UTC),
    )  # fmt: skip
    publish(publisher, result.to_envelope(unproven))
    ingester.wait_for("dead_letter", bead_id=bead.id)
    now = control.get_bead(bead.id)
    assert now.state is State.BLOCKED
    assert "unproven" in now.reason


def reject(broker, queue, message_id):
    """Take messages as a consumer does, and give up the one with that id; beads that other tests
    left open may be dispatched meanwhile, and their messages are acknowledged."""
    with pika.BlockingConnection(
        pika.ConnectionParameters(
            broker.host, broker.port, broker.vhost,
            pika.PlainCredentials(broker.username, broker.password.get_secret_value()),
        )
    ) as connection:  # fmt: skip
        channel = connection.channel()
        for method, properties, _ in channel.consume(queue):
            if properties.message_id != message_id:
                channel.basic_ack(method.delivery_tag)
                continue
            channel.basic_reject(method.delivery_tag, requeue=False)
            channel.cancel()
            return
