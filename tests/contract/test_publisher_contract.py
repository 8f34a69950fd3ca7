"""What a publisher promises: one suite for the broker in memory and the real one."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from loom.broker.confirms import Status
from loom.broker.consumer import Consumer
from loom.broker.declare import declare
from loom.broker.publisher import Publisher
from loom.errors import Unavailable
from loom.messaging.envelope import Envelope
from loom.messaging.topology import (
    CORE,
    EVENTS,
    RESULTS,
    TASKS,
    UNROUTED_QUEUE,
    of_project,
    task_key,
)
from loom.testing.broker import FakeBroker
from loom.testing.relay import Relay

TIMEOUT_S = 10
QUEUE = task_key("p1")


class InMemory:
    """The broker in memory."""

    def __init__(self):
        self.broker = self.publisher = FakeBroker()
        self.broker.declare([CORE, of_project("p1")])

    def standing(self, queue, count):
        return self.broker.take(queue, count).deliveries

    def lose_connections_during(self, envelopes):
        self.broker.lose_after = len(envelopes) // 2
        return self.publisher.publish(envelopes, TIMEOUT_S)

    def away(self):
        return FakeBroker(away=True)


class Real:
    """A vhost of its own on the real broker."""

    def __init__(self, settings, relay):
        self.settings, self.relay = settings, relay
        declare(settings, "test", [CORE, of_project("p1")])
        through_relay = settings.model_copy(update={"port": relay.port})
        self.publisher = Publisher(through_relay, "contract")

    def standing(self, queue, count):
        found, stopping = [], threading.Event()
        for taken in Consumer(self.settings, "test", queue, 1000).batches(count, 0.05, stopping):
            found.extend(taken.deliveries)
            if len(found) >= count:
                stopping.set()
        return sorted(found, key=lambda delivery: delivery.tag)

    def lose_connections_during(self, envelopes):
        self.publisher.publish([a_task("connects")], TIMEOUT_S)
        self.relay.silence()
        with ThreadPoolExecutor(1) as pool:
            outcomes = pool.submit(self.publisher.publish, envelopes, TIMEOUT_S)
            assert self.relay.asked.wait(TIMEOUT_S)
            self.relay.cut()
            return outcomes.result()

    def away(self):
        return Publisher(self.settings.model_copy(update={"port": 1, "timeout_s": 2.0}), "away")


@pytest.fixture(params=["memory", "rabbitmq"])
def rig(request):
    if request.param == "memory":
        yield InMemory()
        return
    infrastructure = request.getfixturevalue("infrastructure")
    vhost = f"contract-{abs(hash(request.node.name)) % 10**8}"
    settings = infrastructure.make_vhost(vhost)
    with Relay(settings.port) as relay:
        rig = Real(settings, relay)
        yield rig
        rig.publisher.close()
    with infrastructure.management() as api:
        assert api.delete(f"/api/vhosts/{vhost}").status_code == httpx.codes.NO_CONTENT


def a_task(message_id, project="p1", **changes):
    fields = {
        "exchange": TASKS,
        "routing_key": task_key(project),
        "body": message_id.encode(),
        "message_id": message_id,
        "correlation_id": "c",
        "headers": {"epoch": 1, "nothing": None, "list": [1, "a", True], "map": {"k": "v"}},
    }
    return Envelope(**{**fields, **changes})


def statuses(outcomes):
    return [outcome.status.value for outcome in outcomes]


def test_no_messages_have_no_outcomes(rig):
    assert rig.publisher.publish([], TIMEOUT_S) == []


def test_what_a_queue_takes_is_confirmed_and_stands_there_in_order(rig):
    tasks = [a_task(f"m{n:03d}") for n in range(300)]
    assert statuses(rig.publisher.publish(tasks, TIMEOUT_S)) == ["confirmed"] * 300
    there = rig.standing(QUEUE, 300)
    assert [delivery.message_id for delivery in there] == [task.message_id for task in tasks]


def test_a_message_arrives_as_it_was_sent(rig):
    sent = a_task("m1", body="Grüße".encode(), correlation_id="corr")
    rig.publisher.publish([sent], TIMEOUT_S)
    (got,) = rig.standing(QUEUE, 1)
    assert (got.exchange, got.routing_key, got.queue) == (TASKS, QUEUE, QUEUE)
    assert (got.body, got.message_id, got.correlation_id) == (sent.body, "m1", "corr")
    assert {key: got.headers[key] for key in sent.headers} == dict(sent.headers)
    assert got.content_type == "application/json"
    assert not got.redelivered


def test_a_large_message_arrives_whole(rig):
    body = bytes(range(256)) * 4096
    assert statuses(rig.publisher.publish([a_task("m1", body=body)], TIMEOUT_S)) == ["confirmed"]
    assert rig.standing(QUEUE, 1)[0].body == body


def test_a_message_that_no_queue_takes_is_returned_and_the_others_are_confirmed(rig):
    outcomes = rig.publisher.publish(
        [a_task("m1"), a_task("m2", project="nobody"), a_task("m3")], TIMEOUT_S
    )
    assert statuses(outcomes) == ["confirmed", "returned", "confirmed"]
    assert "loom.tasks.nobody" in outcomes[1].reason
    assert statuses(rig.publisher.publish([a_task("m4")], TIMEOUT_S)) == ["confirmed"]


def test_a_message_that_nobody_has_to_hear_is_confirmed_unheard(rig):
    event = a_task("e1", exchange=EVENTS, routing_key="loom.events.bead.closed", mandatory=False)
    assert statuses(rig.publisher.publish([event], TIMEOUT_S)) == ["confirmed"]


def test_what_an_alternate_exchange_takes_in_is_confirmed(rig):
    stray = a_task("m1", exchange=RESULTS, routing_key="nothing.of.ours")
    assert statuses(rig.publisher.publish([stray], TIMEOUT_S)) == ["confirmed"]
    assert rig.standing(UNROUTED_QUEUE, 1)[0].message_id == "m1"


def test_a_message_that_amqp_cannot_hold_does_not_hold_up_the_others(rig):
    outcomes = rig.publisher.publish(
        [a_task("m1"), a_task("m2", headers={"ratio": 0.5}), a_task("m3", routing_key="k" * 300)],
        TIMEOUT_S,
    )
    assert statuses(outcomes) == ["confirmed", "unwritable", "unwritable"]
    assert outcomes[1].reason


def test_an_exchange_that_does_not_exist_leaves_its_message_unconfirmed(rig):
    (outcome,) = rig.publisher.publish([a_task("m1", exchange="no-such-exchange")], TIMEOUT_S)
    assert outcome.status is Status.UNCONFIRMED
    assert outcome.reason
    assert statuses(rig.publisher.publish([a_task("m2")], TIMEOUT_S)) == ["confirmed"]


def test_after_a_lost_connection_nothing_is_confirmed_and_the_next_batch_goes_out(rig):
    outcomes = rig.lose_connections_during([a_task(f"m{n}") for n in range(20)])
    assert statuses(outcomes) == ["unconfirmed"] * 20
    assert "lost" in outcomes[0].reason
    assert statuses(rig.publisher.publish([a_task("again")], TIMEOUT_S)) == ["confirmed"]


def test_a_broker_that_is_away_is_unavailable(rig):
    with pytest.raises(Unavailable):
        rig.away().publish([a_task("m1")], TIMEOUT_S)
