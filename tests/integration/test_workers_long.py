"""Beads that outlast the broker's consumer_timeout: neither cut off nor run twice."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pika
import pytest
from agent_stand import Gate, Stand, stand_up
from pika import exceptions

from loom.database.migrate import upgrade
from loom.domain.identity import new_message_id
from loom.messaging.envelope import Envelope
from loom.messaging.topology import DEAD, dead_key
from loom.stack import binaries, rabbitmq
from loom.testing.database import running_database
from loom.testing.infrastructure import Infrastructure

TIMEOUT_MS, TICK_MS = 4_000, 1_000
LONGEST_S = 90.0


@pytest.fixture(scope="module")
def stand(
    infrastructure: Infrastructure, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stand]:
    """A project on a vhost and a database of this file's own."""
    settings = infrastructure.make_database("workers_long")
    upgrade(infrastructure.migration_named("workers_long"))
    folder = tmp_path_factory.mktemp("workers")
    with running_database(settings, projects=("demo",)) as database:
        made = stand_up(infrastructure, "workers-long", database, folder)
        yield made
        made.close()


@pytest.fixture
def impatient(infrastructure: Infrastructure) -> Iterator[None]:
    """A broker that closes every channel, opened meanwhile, on which a message waits for 4 s."""
    program = [
        str(binaries.find().rabbitmq / "rabbitmqctl"), "--node", rabbitmq.NODE, "eval",
    ]  # fmt: skip
    environment = rabbitmq.environment(infrastructure.home, infrastructure.ports)

    def evaluate(erlang: str) -> str:
        done = subprocess.run(
            [*program, erlang],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"} | environment,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def set_to(timeout: str, tick: str) -> None:
        evaluate(
            f"application:set_env(rabbit, consumer_timeout, {timeout}), "
            f"application:set_env(rabbit, channel_tick_interval, {tick})."
        )

    now = "{ok, X} = application:get_env(rabbit, %s), X."
    before = [evaluate(now % key) for key in ("consumer_timeout", "channel_tick_interval")]
    set_to(str(TIMEOUT_MS), str(TICK_MS))
    yield
    set_to(before[0], before[1])


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
