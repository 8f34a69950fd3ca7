"""Dispatcher, ingester and engine as processes, between a real broker and the real ledger."""

import threading
from datetime import UTC, datetime

import pytest
from looking import until

from loom.broker.consumer import Consumer
from loom.broker.declare import declare
from loom.broker.publisher import Publisher
from loom.database import migrate
from loom.domain.bead import NewBead
from loom.domain.evidence import Outcome, Step
from loom.domain.identity import new_message_id
from loom.domain.lifecycle import State
from loom.domain.project import Project
from loom.messaging import result, task
from loom.messaging.envelope import Envelope
from loom.messaging.topology import CORE, RESULTS, of_project, result_key, task_key
from loom.testing.database import running_database, token
from loom.testing.relay import Relay
from loom.testing.service import Service, broker_environment

TIMEOUT_S = 10
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"
PROVEN = Outcome(True, (Step("test", ("true",), 0, 1.0, "ok"),))


@pytest.fixture(scope="module")
def infrastructure(infrastructure):
    """The servers, with a vhost of this file's own where each user has its permissions."""
    return infrastructure.on_vhost("ingester_dispatcher_engine")


@pytest.fixture(scope="module")
def ledger(infrastructure):
    """The real database service on a database of this file's own; leases end at once."""
    name = "ingester_dispatcher_engine"
    settings = infrastructure.make_database(name).model_copy(update={"lease_s": 0.2})
    migrate.upgrade(infrastructure.migration_named(name))
    with running_database(settings, ("calculator",)) as running:
        yield running


@pytest.fixture(scope="module")
def control(ledger):
    client = ledger.client("control")
    client.create_project(Project("calculator", "/srv/calculator.git", queue_window=100), "c")
    return client


@pytest.fixture
def broker(infrastructure):
    """The file's own vhost, where each process has the permissions of its user and no more."""
    declare(infrastructure.broker, "test", [CORE, of_project("calculator")])
    return infrastructure.broker


@pytest.fixture
def publisher(broker):
    publisher = Publisher(broker, "test")
    yield publisher
    publisher.close()


def environment(infrastructure, service, target, broker=None):
    return {
        **broker_environment(broker or infrastructure.broker_as(service)),
        "LOOM_LEDGER_TARGET": target,
        "LOOM_LEDGER_TOKEN": token(service),
    }


def take(broker, queue, wanted):
    """The message with this header id, acknowledged with all before it."""
    stopping = threading.Event()
    found = []
    for taken in Consumer(broker, "test", queue, 100).batches(100, 0.05, stopping):
        taken.ack(taken.deliveries)
        found += [d for d in taken.deliveries if d.headers.get("id") == wanted]
        if found:
            stopping.set()
    return found[0]


def file_bead(control, title="Mend it"):
    filed = control.create_beads("calculator", [NewBead(title)], f"corr-{title}", TRACEPARENT)
    return filed.items[0]


def report(bead, epoch, outcome=PROVEN):
    message = result.report(
        outcome,
        message_id=new_message_id(),
        project_id="calculator",
        bead_id=bead.id,
        agent_id="agent-calculator@test",
        epoch=epoch,
        correlation_id=bead.correlation_id,
        timestamp=datetime.now(UTC),
    )
    return result.to_envelope(message, TRACEPARENT)


def publish(publisher, *envelopes):
    assert all(outcome.confirmed for outcome in publisher.publish(envelopes, TIMEOUT_S))


def test_a_bead_that_is_filed_is_dispatched_with_its_ids(infrastructure, ledger, control, broker):
    with Service("loom.dispatcher", environment(infrastructure, "dispatcher", ledger.target)) as d:
        bead = file_bead(control)
        line = d.wait_for("bead_dispatched", bead_id=bead.id)
        assert line["correlation_id"] == bead.correlation_id
        assert line["trace_id"] == TRACE_ID
        delivery = take(broker, task_key("calculator"), bead.id)
        read = task.read(delivery.headers, delivery.body)
        assert read.message.bead_id == bead.id
        assert read.traceparent.split("-")[1] == TRACE_ID
        assert d.stop() == 0


def test_the_queues_of_a_new_project_are_made_before_its_first_bead(
    infrastructure, ledger, control
):
    with Service("loom.dispatcher", environment(infrastructure, "dispatcher", ledger.target)) as d:
        d.wait_for("topology_declared")
        control.create_project(Project("fresh", "/srv/fresh.git"), "c")
        d.wait_for("topology_declared", projects=["fresh"])
        with infrastructure.management() as api:
            for queue in (task_key("fresh"), "loom.dead.fresh"):
                api.get(f"/api/queues/{infrastructure.broker.vhost}/{queue}").raise_for_status()


def test_a_dispatcher_waits_for_both_its_parts_and_says_for_which(
    infrastructure, ledger, control, broker
):
    ledger_port = int(ledger.target.rpartition(":")[2])
    own = infrastructure.broker_as("dispatcher")
    with Relay(own.port) as to_broker, Relay(ledger_port) as to_ledger:
        to_broker.cut(refuse=True)
        to_ledger.cut(refuse=True)
        settings = own.model_copy(update={"port": to_broker.port})
        target = f"127.0.0.1:{to_ledger.port}"
        with Service(
            "loom.dispatcher", environment(infrastructure, "dispatcher", target, settings)
        ) as d:
            d.wait_for("waiting", waiting_for="the database service")
            to_ledger.accept()
            d.wait_for("waited", waited_for="the database service")
            d.wait_for("waiting", waiting_for="the broker")
            to_broker.accept()
            d.wait_for("waited", waited_for="the broker")
            bead = file_bead(control)
            d.wait_for("bead_dispatched", bead_id=bead.id)
            to_broker.cut(refuse=True)
            second = file_bead(control)
            d.wait_for("message_unsettled", bead_id=second.id)
            to_broker.accept()
            d.wait_for("bead_dispatched", bead_id=second.id)
            assert d.stop() == 0


def test_a_dispatcher_that_waits_stops_when_it_is_told(infrastructure):
    nowhere = environment(infrastructure, "dispatcher", "127.0.0.1:1")
    with Service("loom.dispatcher", nowhere) as d:
        d.wait_for("waiting")
        assert d.stop() == 0


def test_a_result_closes_its_bead(infrastructure, ledger, control, publisher):
    bead = file_bead(control)
    claim = ledger.client("agent-calculator").claim_bead(bead.id, 1, "agent-calculator@test")
    with Service("loom.ingester", environment(infrastructure, "ingester", ledger.target)) as i:
        publish(publisher, report(bead, claim.epoch), report(bead, claim.epoch))
        line = i.wait_for("result_recorded", bead_id=bead.id, verdict="applied")
        assert (line["correlation_id"], line["trace_id"]) == (bead.correlation_id, TRACE_ID)
        assert control.get_bead(bead.id).state is State.CLOSED
        i.wait_for("result_recorded", bead_id=bead.id, verdict="stale")
        assert i.stop() == 0


def test_what_no_ingester_can_read_stands_in_the_ledgers_dead_letters(
    infrastructure, ledger, control, publisher
):
    stranger = file_bead(control)
    unknown = report(stranger, 99)
    junk = Envelope(RESULTS, result_key("calculator"), b"\xff\0 junk", new_message_id(), "corr-j")
    with Service("loom.ingester", environment(infrastructure, "ingester", ledger.target)) as i:
        publish(publisher, junk, unknown)
        i.wait_for("dead_letter", message_id=junk.message_id)
        i.wait_for("dead_letter", message_id=unknown.message_id)
        letters = {e.message_id: e for e in control.list_dead_letters().items}
        assert letters[junk.message_id].reason == "malformed"
        assert letters[junk.message_id].body == junk.body
        assert letters[junk.message_id].correlation_id == "corr-j"
        assert letters[unknown.message_id].reason == "unknown"
        assert i.stop() == 0


def test_results_are_held_while_the_ledger_is_away_and_recorded_when_it_is_back(
    infrastructure, ledger, control, publisher
):
    bead = file_bead(control)
    claim = ledger.client("agent-calculator").claim_bead(bead.id, 1, "agent-calculator@test")
    with Relay(int(ledger.target.rpartition(":")[2])) as relay:
        relay.cut(refuse=True)
        target = f"127.0.0.1:{relay.port}"
        with Service("loom.ingester", environment(infrastructure, "ingester", target)) as i:
            publish(publisher, report(bead, claim.epoch))
            i.wait_for("waiting", waiting_for="the database service")
            relay.accept()
            i.wait_for("result_recorded", bead_id=bead.id, verdict="applied")


def test_a_result_held_at_the_stop_is_recorded_by_the_next_ingester(
    infrastructure, ledger, control, publisher
):
    bead = file_bead(control)
    claim = ledger.client("agent-calculator").claim_bead(bead.id, 1, "agent-calculator@test")
    nowhere = environment(infrastructure, "ingester", "127.0.0.1:1")
    with Service("loom.ingester", nowhere) as first:
        publish(publisher, report(bead, claim.epoch))
        first.wait_for("waiting", waiting_for="the database service")
        assert first.stop() == 0
    with Service("loom.ingester", environment(infrastructure, "ingester", ledger.target)) as i:
        i.wait_for("result_recorded", bead_id=bead.id, verdict="applied")


def test_an_attempt_whose_lease_ran_out_is_lost_and_its_bead_owed_again(
    infrastructure, ledger, control
):
    bead = file_bead(control)
    ledger.client("agent-calculator").claim_bead(bead.id, 1, "agent-calculator@test")
    settings = environment(infrastructure, "engine", ledger.target, infrastructure.broker)
    with Service("loom.engine", settings) as first, Service("loom.engine", settings) as second:
        for engine in (first, second):
            engine.wait_for("timers_started")
        until(lambda: control.get_bead(bead.id).state is State.OPEN)
        (attempt,) = control.list_attempts(bead.id)
        assert attempt.outcome == "lost"
        assert (first.stop(), second.stop()) == (0, 0)


def test_an_engine_waits_for_the_ledger_and_says_so(infrastructure):
    settings = environment(infrastructure, "engine", "127.0.0.1:1", infrastructure.broker)
    with Service("loom.engine", settings) as engine:
        engine.wait_for("waiting", waiting_for="expired leases")
        assert engine.stop() == 0


@pytest.mark.parametrize("module", ["loom.dispatcher", "loom.ingester", "loom.engine"])
def test_a_process_without_settings_names_what_is_missing(module):
    with Service(module, {}) as process:
        said = process.read_to_end()
        assert "these settings are missing or wrong: LOOM_" in said
