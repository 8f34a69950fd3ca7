"""loom.broker on a real RabbitMQ: consuming, trouble on the wire, drift and dead-lettering."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pika
import pytest
from looking import until
from pika import spec

from loom.broker.connection import UNDECODABLE
from loom.broker.consumer import Consumer
from loom.broker.declare import declare
from loom.broker.publisher import Publisher
from loom.errors import NotFound, Unavailable
from loom.messaging import deadletter
from loom.messaging.envelope import Envelope
from loom.messaging.topology import (
    CORE,
    DEAD,
    DEAD_LEDGER_QUEUE,
    DEAD_RESULTS_QUEUE,
    DELIVERY_LIMIT,
    EVENTS,
    RESULTS_QUEUE,
    TASKS,
    dead_key,
    of_project,
    task_key,
)
from loom.testing.relay import Relay

TIMEOUT_S = 10
P1 = of_project("p1")
QUEUE = task_key("p1")


@pytest.fixture
def settings(infrastructure, request):
    """A vhost of the test's own, with Loom's topology and one project."""
    vhost = f"broker-{abs(hash(request.node.name)) % 10**8}"
    settings = infrastructure.make_vhost(vhost)
    declare(settings, "test", [CORE, P1])
    yield settings
    with infrastructure.management() as api:
        api.delete(f"/api/vhosts/{vhost}").raise_for_status()


@pytest.fixture
def publisher(settings):
    publisher = Publisher(settings, "test")
    yield publisher
    publisher.close()


@pytest.fixture
def stopping():
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def raw(settings):
    """A bare channel, for what a foreign client may do."""
    connection = pika.BlockingConnection(pika.URLParameters(settings.url))
    yield connection.channel()
    connection.close()


def a_task(number):
    return Envelope(TASKS, QUEUE, b"{}", f"m{number:04d}", "c", {"epoch": 1})


def publish(publisher, *envelopes):
    outcomes = publisher.publish(envelopes, TIMEOUT_S)
    assert all(outcome.confirmed for outcome in outcomes)


def batches(settings, stopping, queue=QUEUE, prefetch=1000, limit=100):
    return Consumer(settings, "test", queue, prefetch).batches(limit, 0.05, stopping)


def ids(deliveries):
    return [delivery.message_id for delivery in deliveries]


def take(settings, queue, count):
    """So many messages of a queue, acknowledged."""
    stopping, found = threading.Event(), []
    for taken in batches(settings, stopping, queue):
        found.extend(taken.deliveries)
        taken.ack(taken.deliveries)
        if len(found) >= count:
            stopping.set()
    return found


def test_of_several_nodes_the_first_that_can_be_used_is_taken(settings):
    with Relay(settings.port) as relay:
        gone = relay.port
    hosts = f"127.0.0.1:{gone},{settings.host}:{settings.port}"
    several = settings.model_copy(update={"hosts": hosts})
    assert declare(several, "test", [CORE]) == ()
    publisher = Publisher(several, "test")
    envelope = Envelope(
        exchange=TASKS, routing_key=task_key("p1"), body=b"{}", message_id="m1", correlation_id="c"
    )
    [published] = publisher.publish([envelope], TIMEOUT_S)
    publisher.close()
    assert published.confirmed


def test_when_no_node_can_be_used_all_are_named(settings):
    with Relay(settings.port) as relay:
        gone = relay.port
    several = settings.model_copy(update={"hosts": f"127.0.0.1:{gone},localhost:{gone}"})
    with pytest.raises(Unavailable, match=f"127.0.0.1:{gone} or localhost:{gone}"):
        Publisher(several, "test").publish(
            [
                Envelope(
                    exchange=TASKS, routing_key="x", body=b"", message_id="m2", correlation_id="c"
                )
            ],
            TIMEOUT_S,
        )


def test_a_consumer_gives_what_arrives_in_batches_in_order(settings, publisher, stopping):
    publish(publisher, *(a_task(n) for n in range(250)))
    found, sizes = [], []
    for taken in batches(settings, stopping, limit=100):
        sizes.append(len(taken.deliveries))
        found += ids(taken.deliveries)
        taken.ack(taken.deliveries)
        if len(found) >= 250:
            stopping.set()
    assert found == [f"m{n:04d}" for n in range(250)]
    assert max(sizes) <= 100


def test_a_consumer_holds_no_more_than_its_prefetch(settings, publisher, stopping):
    publish(publisher, *(a_task(n) for n in range(30)))
    intake = batches(settings, stopping, prefetch=10, limit=100)
    first = next(intake)
    assert len(first.deliveries) == 10
    first.ack(first.deliveries[:4])
    assert ids(next(intake).deliveries) == ["m0010", "m0011", "m0012", "m0013"]
    intake.close()


def test_what_is_not_acknowledged_goes_back_when_the_consumer_ends(settings, publisher, stopping):
    publish(publisher, *(a_task(n) for n in range(10)))
    intake = batches(settings, stopping)
    taken = next(intake)
    # Every other one, out of order: none may take its neighbours along.
    taken.ack([taken.deliveries[n] for n in (8, 0, 2, 1)])
    intake.close()
    again = take(settings, QUEUE, 6)
    assert ids(again) == ["m0003", "m0004", "m0005", "m0006", "m0007", "m0009"]
    assert all(delivery.redelivered for delivery in again)


def test_a_requeued_message_comes_again(settings, publisher, stopping):
    publish(publisher, a_task(1))
    intake = batches(settings, stopping)
    taken = next(intake)
    taken.requeue(taken.deliveries)
    again = next(intake)
    assert ids(again.deliveries) == ["m0001"]
    assert again.deliveries[0].redelivered
    again.ack(again.deliveries)
    intake.close()


def test_an_idle_consumer_stops_when_it_is_told(settings, stopping):
    with ThreadPoolExecutor(1) as pool:
        idle = pool.submit(list, batches(settings, stopping))
        stopping.set()
        assert idle.result(TIMEOUT_S) == []


def test_a_consumer_that_lost_its_connection_goes_on_with_another(settings, publisher, stopping):
    with Relay(settings.port) as relay:
        publish(publisher, a_task(1))
        intake = batches(settings.model_copy(update={"port": relay.port}), stopping)
        lost = next(intake)
        relay.cut()
        again = next(intake)
        assert ids(again.deliveries) == ["m0001"]
        # The tag of the dead connection is the tag of this delivery on the new one.
        assert lost.deliveries[0].tag == again.deliveries[0].tag
        lost.ack(lost.deliveries)
        intake.close()
    assert ids(take(settings, QUEUE, 1)) == ["m0001"]


def test_a_consumer_waits_for_a_broker_that_is_away(settings, publisher, stopping):
    with Relay(settings.port) as relay:
        publish(publisher, a_task(1))
        relay.cut(refuse=True)
        intake = batches(settings.model_copy(update={"port": relay.port}), stopping)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(next, intake)
            relay.accept()
            assert ids(first.result(TIMEOUT_S).deliveries) == ["m0001"]
        intake.close()


def test_a_queue_that_is_deleted_under_its_consumer_is_an_error(settings, publisher, raw, stopping):
    publish(publisher, a_task(1))
    intake = batches(settings, stopping)
    next(intake)
    raw.queue_delete(QUEUE)
    with pytest.raises(NotFound, match=QUEUE):
        next(intake)


def test_a_queue_that_never_was_is_an_error(settings, stopping):
    with pytest.raises(NotFound, match=r"loom\.tasks\.nobody"):
        next(batches(settings, stopping, queue=task_key("nobody")))


def test_a_publish_that_is_not_answered_in_its_time_is_unconfirmed(settings):
    with Relay(settings.port) as relay:
        publisher = Publisher(settings.model_copy(update={"port": relay.port}), "test")
        publish(publisher, a_task(1))
        relay.silence()
        outcomes = publisher.publish([a_task(2), a_task(3)], 0.3)
        assert [outcome.status.value for outcome in outcomes] == ["unconfirmed"] * 2
        relay.cut()
        publish(publisher, a_task(4))
        publisher.close()
    assert "m0004" in ids(take(settings, QUEUE, 4))


def test_an_idle_publisher_whose_connection_was_closed_connects_again(
    infrastructure, settings, publisher
):
    publish(publisher, a_task(1))
    session = publisher._session
    with infrastructure.management() as api:
        for connection in open_connections(api, settings.vhost):
            api.delete(f"/api/connections/{connection}").raise_for_status()
    session.link._thread.join(TIMEOUT_S)
    publish(publisher, a_task(2))


def open_connections(api, vhost):
    """The names of the vhost's connections, once the management has heard of one."""
    found = until(lambda: api.get(f"/api/vhosts/{vhost}/connections").raise_for_status().json())
    return [connection["name"] for connection in found]


def test_declaring_again_changes_nothing_and_finds_no_drift(settings):
    assert declare(settings, "test", [CORE, P1]) == ()


def test_what_stands_otherwise_is_reported_and_left_and_the_rest_is_made(settings, raw):
    raw.queue_delete(QUEUE)
    raw.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "classic"})
    raw.exchange_delete(EVENTS)
    raw.exchange_declare(EVENTS, "fanout", durable=True)
    raw.queue_delete(dead_key("p1"))
    drift = declare(settings, "test", [CORE, P1, of_project("p2")])
    assert [(d.kind, d.name) for d in drift] == [("exchange", EVENTS), ("queue", QUEUE)]
    assert all("inequivalent arg" in d.why for d in drift)
    for made in (dead_key("p1"), task_key("p2")):
        raw.queue_declare(made, passive=True)


def test_a_broker_that_refuses_says_what(settings):
    with pytest.raises(Unavailable, match="refuses the user or its password"):
        declare(settings.model_copy(update={"username": "nobody"}), "test", [CORE])
    with pytest.raises(Unavailable, match="no such vhost"):
        declare(settings.model_copy(update={"vhost": "nowhere"}), "test", [CORE])
    with pytest.raises(Unavailable, match="Connection refused"):
        declare(settings.model_copy(update={"port": 1}), "test", [CORE])


def test_a_rejected_task_is_dead_lettered_to_the_project_and_to_the_ledger(
    settings, publisher, raw
):
    publish(publisher, a_task(1))
    got, _, _ = next(raw.consume(QUEUE, inactivity_timeout=TIMEOUT_S))
    raw.basic_reject(got.delivery_tag, requeue=False)
    for queue in (dead_key("p1"), DEAD_LEDGER_QUEUE):
        (letter,) = map(deadletter.read, take(settings, queue, 1))
        assert (letter.message_id, letter.queue, letter.reason) == ("m0001", QUEUE, "rejected")
        assert letter.project_id == "p1"


@pytest.mark.parametrize(
    ("queue", "dead"), [(QUEUE, dead_key("p1")), (RESULTS_QUEUE, DEAD_RESULTS_QUEUE)]
)
def test_a_message_returned_too_often_is_dead_lettered_to_both(
    settings, publisher, raw, queue, dead
):
    exchange = queue.rpartition(".")[0] if queue == QUEUE else RESULTS_QUEUE
    publish(publisher, Envelope(exchange, queue, b"{}", "m1", "c"))
    deliveries = raw.consume(queue, inactivity_timeout=TIMEOUT_S)
    for _ in range(DELIVERY_LIMIT + 1):
        got, _, _ = next(deliveries)
        raw.basic_nack(got.delivery_tag, requeue=True)
    for where in (dead, DEAD_LEDGER_QUEUE):
        (letter,) = map(deadletter.read, take(settings, where, 1))
        assert (letter.message_id, letter.queue, letter.reason) == ("m1", queue, "delivery_limit")


def test_a_dead_letter_is_kept_however_often_it_is_looked_at(settings, publisher, raw):
    publish(publisher, Envelope(DEAD, dead_key("p1"), b"{}", "m1", "c"))
    looks = 0
    for got, _, _ in raw.consume(dead_key("p1"), inactivity_timeout=TIMEOUT_S):
        looks += 1
        raw.basic_nack(got.delivery_tag, requeue=looks <= DELIVERY_LIMIT + 5)
        if looks > DELIVERY_LIMIT + 5:
            break
    assert looks == DELIVERY_LIMIT + 6


class OddProperties(pika.BasicProperties):
    """Properties with a header that AMQP allows and pika cannot decode: a date far off."""

    def encode(self):
        table = b"\x04dateT" + b"\x7f" * 8
        flags = (spec.BasicProperties.FLAG_HEADERS).to_bytes(2, "big")
        return [flags, len(table).to_bytes(4, "big"), table]


def test_a_message_whose_headers_cannot_be_decoded_is_delivered_without_them(
    settings, publisher, raw
):
    publish(publisher, a_task(1))
    raw.confirm_delivery()
    raw.basic_publish(TASKS, QUEUE, b"odd", OddProperties())
    publish(publisher, a_task(2))
    before, odd, after = take(settings, QUEUE, 3)
    assert (before.message_id, after.message_id) == ("m0001", "m0002")
    assert odd.body == b"odd"
    assert odd.headers[UNDECODABLE]
