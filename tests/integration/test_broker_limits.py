"""What RabbitMQ limits for all of a node: how long a message may be held, and its memory.

The node is this file's own, since its limits hold for everybody on it.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika
import pytest
from agent_stand import Gate, Stand, stand_up
from pika import exceptions

from loom.broker.consumer import Consumer
from loom.broker.declare import declare
from loom.broker.publisher import Publisher
from loom.database.migrate import upgrade
from loom.domain.identity import new_message_id
from loom.messaging.envelope import Envelope
from loom.messaging.topology import CORE, DEAD, TASKS, dead_key, of_project, task_key
from loom.settings import BrokerSettings
from loom.stack import binaries, rabbitmq
from loom.testing.database import running_database
from loom.testing.infrastructure import Infrastructure, private_infrastructure

TIMEOUT_MS, TICK_MS = 4_000, 1_000
LONGEST_S = 90.0
TIMEOUT_S = 10


@pytest.fixture(scope="module")
def node() -> Iterator[Infrastructure]:
    """A RabbitMQ of this file's own."""
    with private_infrastructure(only=("epmd", "rabbitmq")) as started:
        yield started


def ctl(node: Infrastructure, *words: str) -> None:
    """Run rabbitmqctl on the node."""
    subprocess.run(
        [binaries.find().rabbitmq / "rabbitmqctl", "--node", rabbitmq.NODE, *words],
        env={**os.environ, **rabbitmq.environment(node.home, node.ports)},
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def stand(
    infrastructure: Infrastructure,
    node: Infrastructure,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stand]:
    """A project on a vhost and a database of this file's own."""
    settings = infrastructure.make_database("broker_limits")
    upgrade(infrastructure.migration_named("broker_limits"))
    folder = tmp_path_factory.mktemp("workers")
    with running_database(settings, projects=("demo",)) as database:
        made = stand_up(node, "broker-limits", database, folder)
        yield made
        made.close()


@pytest.fixture(scope="module")
def impatient(node: Infrastructure) -> None:
    """From now on it closes every channel, opened later, on which a message waits for 4 s."""
    ctl(
        node,
        "eval",
        f"application:set_env(rabbit, consumer_timeout, {TIMEOUT_MS}), "
        f"application:set_env(rabbit, channel_tick_interval, {TICK_MS}).",
    )


def wait_for_the_timeout(stand: Stand) -> None:
    """Hold a message of our own until the broker closes our channel for it."""
    key = dead_key("demo")
    stand.publish(Envelope(DEAD, key, b"{}", new_message_id(), "corr-1"))
    broker = stand.broker
    connection = pika.BlockingConnection(
        pika.ConnectionParameters(
            broker.host,
            broker.port,
            broker.vhost,
            pika.PlainCredentials(broker.username, broker.password.get_secret_value()),
        )
    )
    channel = connection.channel()
    connection.call_later(LONGEST_S, channel.stop_consuming)
    channel.basic_consume(key, lambda *_message: None)
    with pytest.raises(exceptions.ChannelClosedByBroker, match="timed out"):
        channel.start_consuming()
    connection.close()


@pytest.mark.usefixtures("impatient")
def test_a_bead_that_outlasts_the_consumer_timeout_is_run_once(stand: Stand) -> None:
    gate = Gate(stand.folder, "long")
    with stand.agent(LOOM_AGENT_HOLD_S="0") as agent:
        bead = stand.file(context=gate.context)
        gate.wait_for_start()
        agent.wait_for("message_let_go", bead_id=bead.id)
        wait_for_the_timeout(stand)
        gate.open()
        assert stand.result(bead.id).type == "task.completed"
        after = stand.file(context={"test_command": ["true"]})
        assert stand.result(after.id).type == "task.completed"
        assert not agent.logged("running_bead_delivered_again")
    assert outcomes(stand, bead.id) == ["succeeded"]


@pytest.mark.usefixtures("impatient")
def test_a_message_that_is_held_too_long_costs_its_channel_and_no_second_run(
    stand: Stand,
) -> None:
    gate = Gate(stand.folder, "held")
    with stand.agent() as agent:
        bead = stand.file(context=gate.context)
        gate.wait_for_start()
        agent.wait_for("running_bead_delivered_again", bead_id=bead.id)
        gate.open()
        assert stand.result(bead.id).type == "task.completed"
    assert outcomes(stand, bead.id) == ["succeeded"]


def outcomes(stand: Stand, bead_id: str) -> list[Any]:
    """How each attempt at the bead ended."""
    return [attempt.outcome for attempt in stand.control.list_attempts(bead_id)]


@contextmanager
def alarm(node: Infrastructure) -> Iterator[None]:
    """The broker believes that it is short of memory, and blocks whoever publishes."""
    ctl(node, "set_vm_memory_high_watermark", "0.0000001")
    try:
        yield
    finally:
        ctl(node, "set_vm_memory_high_watermark", "0.4")


@pytest.fixture
def roomy(node: Infrastructure) -> BrokerSettings:
    """A vhost with the queues of one project, which nobody consumes."""
    settings = node.make_vhost("memory")
    declare(settings, "test", [CORE, of_project("p1")])
    return settings


def a_task(number: int) -> Envelope:
    return Envelope(TASKS, task_key("p1"), b"{}", f"m{number}", "c", {"epoch": 1})


def test_a_broker_low_on_memory_is_told_from_one_that_hangs(
    node: Infrastructure, roomy: BrokerSettings
) -> None:
    publisher = Publisher(roomy, "test")
    assert publisher.publish([a_task(1)], TIMEOUT_S)[0].confirmed
    with alarm(node):
        outcomes = publisher.publish([a_task(2)], TIMEOUT_S * 3)
        assert [outcome.status.value for outcome in outcomes] == ["unconfirmed"]
        assert "takes no messages" in outcomes[0].reason
        (outcome,) = publisher.publish([a_task(3)], TIMEOUT_S * 3)
        assert "takes no messages" in outcome.reason
    while not publisher.publish([a_task(4)], TIMEOUT_S)[0].confirmed:
        pass
    publisher.close()
    # The one that was on its way when the alarm came was taken after all; the refused was not.
    assert standing(roomy, 3) == ["m1", "m2", "m4"]


def standing(settings: BrokerSettings, count: int) -> list[str]:
    """The ids of so many messages of the project, in their order."""
    stopping, found = threading.Event(), []
    for taken in Consumer(settings, "test", task_key("p1"), 10).batches(10, 0.05, stopping):
        found += [delivery.message_id for delivery in taken.deliveries]
        taken.ack(taken.deliveries)
        if len(found) >= count:
            stopping.set()
    return found
