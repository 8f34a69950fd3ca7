"""An agent at the broker cannot touch another project's beads, whatever it publishes and where."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pika
import pytest
from pika.exceptions import ChannelClosedByBroker

from loom.broker.declare import declare
from loom.broker.publisher import Publisher
from loom.broker.taking import take
from loom.clients.database import DatabaseClient
from loom.database import migrate
from loom.domain.bead import Bead, NewBead
from loom.domain.evidence import FailureClass, Outcome
from loom.domain.identity import new_message_id
from loom.domain.lifecycle import State
from loom.domain.project import Project
from loom.messaging import deadletter, result, topology
from loom.messaging.deadletter import DeadLetter
from loom.messaging.envelope import Envelope
from loom.messaging.sender import FORGED
from loom.messaging.topology import (
    CORE,
    DEAD,
    LOGS,
    RESULTS,
    RESULTS_QUEUE,
    TASKS,
    agent_user,
    dead_key,
    log_key,
    of_project,
    result_key,
    task_key,
)
from loom.settings import BrokerSettings
from loom.stack.management import Management
from loom.testing.database import running_database, token
from loom.testing.infrastructure import Infrastructure
from loom.testing.service import Service, broker_environment

NORTH, SOUTH = "north", "south"
MAILBOX = "agent-north@host.celery.pidbox"
"""The one kind of name that an agent may make at the broker."""
TRESPASS = b"trespass"
FAILED = Outcome(succeeded=False, failure_class=FailureClass.WORK, reason="said by another")


@dataclass
class Border:
    """Two projects, the broker as the agent of one, and the beads of the other."""

    broker: BrokerSettings
    as_north: BrokerSettings
    control: DatabaseClient
    south: DatabaseClient
    north: DatabaseClient
    ingester: Service

    def channel(self) -> Any:
        """A channel with confirms, as the agent of north."""
        channel = _connect(self.as_north).channel()
        channel.confirm_delivery()
        return channel

    def file(self, project: str = SOUTH) -> Bead:
        """An open bead."""
        (bead,) = self.control.create_beads(project, [NewBead("Mend it")], "corr").items
        return bead

    def running(self, project: str = SOUTH) -> Bead:
        """A bead at which that project's agent works, at epoch 1."""
        bead = self.file(project)
        client = self.south if project == SOUTH else self.north
        client.claim_bead(bead.id, 1, f"agent-{project}@host")
        return self.control.get_bead(bead.id)

    def letter(self, message_id: str) -> DeadLetter:
        """The dead letter of that message, once the ledger has it."""
        self.ingester.wait_for("dead_letter", message_id=message_id)
        found = self.control.list_dead_letters(page_size=100).items
        (letter,) = [each for each in found if each.message_id == message_id]
        return letter

    def count(self, queue: str) -> int:
        """How many messages stand in a queue."""
        with _connect(self.broker) as connection:
            declared = connection.channel().queue_declare(queue, passive=True)
            return int(declared.method.message_count)

    def standing(self, queue: str) -> list[bytes]:
        """The bodies of what stands in a queue; it stays there."""
        seen: list[bytes] = []
        take(self.broker, "test", queue, lambda delivery: bool(seen.append(delivery.body)))
        return seen


def _connect(broker: BrokerSettings) -> pika.BlockingConnection:
    login = pika.PlainCredentials(broker.username, broker.password.get_secret_value())
    return pika.BlockingConnection(
        pika.ConnectionParameters(broker.host, broker.port, broker.vhost, login)
    )


@pytest.fixture(scope="module")
def infrastructure(infrastructure: Infrastructure) -> Infrastructure:
    """The servers, with a vhost of this file's own where each user has its permissions."""
    return infrastructure.on_vhost("projects_apart")


@pytest.fixture(scope="module")
def border(infrastructure: Infrastructure) -> Iterator[Border]:
    settings = infrastructure.make_database("projects_apart")
    migrate.upgrade(infrastructure.migration_named("projects_apart"))
    declare(infrastructure.broker, "test", [CORE, of_project(NORTH), of_project(SOUTH)])
    publisher = Publisher(infrastructure.broker, "test")
    (kept,) = publisher.publish([Envelope(TASKS, task_key(SOUTH), b"kept", "kept", "corr")], 10)
    publisher.close()
    assert kept.confirmed
    management = Management(infrastructure.home, infrastructure.ports, infrastructure.vhost)
    password = "password-of-north"
    management.put_user(agent_user(NORTH), password, topology.permission_of_agent(NORTH))
    login = BrokerSettings(username=agent_user(NORTH), password=password)
    as_north = infrastructure.broker.model_copy(
        update={"username": login.username, "password": login.password}
    )
    with running_database(settings, (NORTH, SOUTH)) as ledger:
        control = ledger.client("control")
        for project in (NORTH, SOUTH):
            control.create_project(Project(project, f"/srv/{project}.git"), "c")
        environment = {
            **broker_environment(infrastructure.broker_as("ingester")),
            "LOOM_LEDGER_TARGET": ledger.target,
            "LOOM_LEDGER_TOKEN": token("ingester"),
        }
        with Service("loom.ingester", environment) as ingester:
            yield Border(
                infrastructure.broker, as_north, control, ledger.client(agent_user(SOUTH)),
                ledger.client(agent_user(NORTH)), ingester,
            )  # fmt: skip


def said(bead: Bead, **other: Any) -> result.ResultMessage:
    """A failure of the bead's running attempt, as its own agent would report it."""
    words: dict[str, Any] = {
        "message_id": new_message_id(), "project_id": bead.project_id, "bead_id": bead.id,
        "agent_id": f"agent-{bead.project_id}@host", "epoch": 1, "correlation_id": "corr",
        "timestamp": datetime.now(UTC),
    }  # fmt: skip
    return result.report(FAILED, **(words | other))


def properties(message_id: str, **other: Any) -> pika.BasicProperties:
    """What a message of north's agent has, if it is signed."""
    return pika.BasicProperties(
        **({"message_id": message_id, "user_id": agent_user(NORTH), "delivery_mode": 2} | other)
    )


ACTS: dict[str, Callable[[Any], object]] = {
    "publish its result": lambda c: c.basic_publish(RESULTS, result_key(SOUTH), TRESPASS),
    "publish a result of no project": lambda c: c.basic_publish(RESULTS, RESULTS_QUEUE, TRESPASS),
    "publish its dead letter": lambda c: c.basic_publish(DEAD, dead_key(SOUTH), TRESPASS),
    "publish a dead result": lambda c: c.basic_publish(DEAD, topology.DEAD_RESULTS_QUEUE, TRESPASS),
    "publish its logs": lambda c: c.basic_publish(LOGS, log_key(agent_user(SOUTH)), TRESPASS),
    "publish its task": lambda c: c.basic_publish(TASKS, task_key(SOUTH), TRESPASS),
    "publish into its queue": lambda c: c.basic_publish("", task_key(SOUTH), TRESPASS),
    "get its tasks": lambda c: c.basic_get(task_key(SOUTH)),
    "get its dead letters": lambda c: c.basic_get(dead_key(SOUTH)),
    "bind its queue": lambda c: c.queue_bind(task_key(SOUTH), "celery.pidbox"),
    "bind its dead letters": lambda c: c.queue_bind(dead_key(SOUTH), "celery.pidbox"),
    "unbind its queue": lambda c: c.queue_unbind(task_key(SOUTH), TASKS, task_key(SOUTH)),
    "purge its queue": lambda c: c.queue_purge(task_key(SOUTH)),
    "delete its queue": lambda c: c.queue_delete(task_key(SOUTH)),
    "listen to its results": lambda c: c.queue_bind(MAILBOX, RESULTS, result_key(SOUTH)),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_what_an_agent_does_to_another_project_is_refused_and_changes_nothing(
    border: Border, act: Callable[[Any], object]
) -> None:
    opened, running = border.file(), border.running()
    channel = border.channel()
    channel.exchange_declare("celery.pidbox", "fanout")
    channel.queue_declare(MAILBOX, exclusive=True)
    with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED") as refused:
        act(channel)
    channel.connection.close()
    assert refused.value.reply_code == 403
    assert border.count(task_key(SOUTH)) == 1
    assert TRESPASS not in border.standing(dead_key(SOUTH))
    assert border.control.get_bead(opened.id) == opened
    assert border.control.get_bead(running.id) == running


def test_an_agent_publishes_under_its_own_keys(border: Border) -> None:
    channel = border.channel()
    bead = border.running(NORTH)
    report = said(bead)
    channel.basic_publish(
        RESULTS, result_key(NORTH), report.model_dump_json(), properties(report.message_id)
    )
    channel.basic_publish(LOGS, log_key(agent_user(NORTH)), b"{}")
    channel.connection.close()
    border.ingester.wait_for("result_recorded", bead_id=bead.id, verdict="applied")
    assert border.control.get_bead(bead.id).state is State.CLOSED


def test_nobody_publishes_in_another_s_name(border: Border) -> None:
    channel = border.channel()
    with pytest.raises(ChannelClosedByBroker, match="PRECONDITION_FAILED"):
        channel.basic_publish(
            RESULTS, result_key(NORTH), b"{}", properties("m", user_id=agent_user(SOUTH))
        )
    channel.connection.close()


@pytest.mark.parametrize(
    ("message", "signed", "reason"),
    [
        ({}, {}, FORGED),
        ({}, {"user_id": None}, FORGED),
        ({"project_id": NORTH}, {"user_id": None}, FORGED),
        ({"project_id": NORTH}, {}, "unknown"),
    ],
    ids=["another's project", "and unsigned", "its own, unsigned", "its own, another's bead"],
)
def test_a_result_under_an_agents_own_key_moves_no_bead_of_another_project(
    border: Border, message: dict[str, Any], signed: dict[str, Any], reason: str
) -> None:
    bead = border.running()
    forged = said(bead, **message)
    channel = border.channel()
    headers = {"id": bead.id, "epoch": 1, deadletter.PROJECT: SOUTH}
    channel.basic_publish(
        RESULTS,
        result_key(NORTH),
        forged.model_dump_json(),
        properties(forged.message_id, headers=headers, **signed),
    )
    channel.connection.close()
    letter = border.letter(forged.message_id)
    assert letter.reason == reason
    assert letter.project_id != SOUTH
    assert border.control.get_bead(bead.id) == bead


def test_an_unreadable_result_blocks_the_bead_that_its_headers_name(border: Border) -> None:
    bead = border.running(NORTH)
    with_headers = dict(result.to_envelope(said(bead)).headers)
    message_id = new_message_id()
    channel = border.channel()
    channel.basic_publish(
        RESULTS, result_key(NORTH), b"not JSON", properties(message_id, headers=with_headers)
    )
    channel.connection.close()
    letter = border.letter(message_id)
    assert (letter.project_id, letter.bead_id, letter.epoch) == (NORTH, bead.id, 1)
    blocked = border.control.get_bead(bead.id)
    assert blocked.state is State.BLOCKED
    assert "malformed" in blocked.reason


@pytest.mark.parametrize("signed", [{}, {"user_id": None}], ids=["signed", "unsigned"])
def test_an_unreadable_result_blocks_no_bead_of_another_project(
    border: Border, signed: dict[str, Any]
) -> None:
    bead = border.running()
    headers = {"id": bead.id, "epoch": 1, deadletter.PROJECT: SOUTH}
    message_id = new_message_id()
    channel = border.channel()
    channel.basic_publish(
        RESULTS, result_key(NORTH), b"not JSON", properties(message_id, headers=headers, **signed)
    )
    channel.connection.close()
    assert border.letter(message_id).project_id != SOUTH
    assert border.control.get_bead(bead.id) == bead


@pytest.mark.parametrize("signed", [{}, {"user_id": None}], ids=["signed", "unsigned"])
@pytest.mark.parametrize("queue", [task_key(SOUTH), RESULTS_QUEUE, task_key(NORTH)])
def test_a_dead_letter_under_an_agents_own_key_moves_no_bead_of_another_project(
    border: Border, queue: str, signed: dict[str, Any]
) -> None:
    opened, running = border.file(), border.running()
    channel = border.channel()
    for bead in (opened, running):
        message_id = new_message_id()
        headers = {
            "id": bead.id, "epoch": 1, deadletter.QUEUE: queue, deadletter.REASON: "malformed",
            deadletter.PROJECT: SOUTH,
        }  # fmt: skip
        channel.basic_publish(
            DEAD, dead_key(NORTH), b"{}", properties(message_id, headers=headers, **signed)
        )
        assert border.letter(message_id).project_id != SOUTH
    channel.connection.close()
    assert border.control.get_bead(opened.id) == opened
    assert border.control.get_bead(running.id) == running


def test_what_an_agent_leads_around_its_keys_is_not_believed(border: Border) -> None:
    bead = border.running()
    forged = said(bead)
    channel = border.channel()
    # RabbitMQ asks for no key where a message comes out of an alternate exchange.
    channel.exchange_declare(
        MAILBOX, "direct", auto_delete=False, arguments={"alternate-exchange": RESULTS}
    )
    channel.basic_publish(
        MAILBOX, result_key(SOUTH), forged.model_dump_json(), properties(forged.message_id)
    )
    letter = border.letter(forged.message_id)
    channel.exchange_delete(MAILBOX)
    channel.connection.close()
    assert (letter.reason, letter.project_id, letter.bead_id) == (FORGED, NORTH, "")
    assert border.control.get_bead(bead.id) == bead


def test_what_dies_in_an_agents_own_queue_under_another_s_key_is_not_believed(
    border: Border,
) -> None:
    bead = border.file()
    channel = border.channel()
    channel.exchange_declare(MAILBOX, "direct")
    channel.queue_declare(
        MAILBOX,
        exclusive=True,
        arguments={
            "x-dead-letter-exchange": DEAD,
            "x-dead-letter-routing-key": dead_key(SOUTH),
            "x-message-ttl": 0,
        },
    )
    channel.queue_bind(MAILBOX, MAILBOX, "k")
    message_id = new_message_id()
    headers = {"id": bead.id, "epoch": 1, deadletter.QUEUE: task_key(SOUTH)}
    channel.basic_publish(MAILBOX, "k", b"{}", properties(message_id, headers=headers))
    letter = border.letter(message_id)
    channel.exchange_delete(MAILBOX)
    channel.connection.close()
    assert (letter.reason, letter.project_id, letter.bead_id) == (FORGED, NORTH, "")
    assert json.loads(letter.deaths)[0]["queue"] == MAILBOX
    assert border.control.get_bead(bead.id) == bead


def test_a_copy_that_an_agent_sends_to_another_s_dead_letters_moves_no_bead(
    border: Border,
) -> None:
    bead = border.file()
    channel = border.channel()
    message_id = new_message_id()
    headers = {
        "CC": [dead_key(SOUTH)], "id": bead.id, "epoch": 1, deadletter.QUEUE: task_key(SOUTH),
    }  # fmt: skip
    try:
        channel.basic_publish(
            DEAD, dead_key(NORTH), b"copy", properties(message_id, headers=headers)
        )
    except ChannelClosedByBroker as error:
        # RabbitMQ 4 asks for the keys of copies too.
        assert error.reply_code == 403
    else:
        assert border.letter(message_id).reason == FORGED
    channel.connection.close()
    assert border.control.get_bead(bead.id) == bead


def test_the_broker_dead_letters_what_is_rejected_without_any_right_of_who_rejects_it(
    border: Border, infrastructure: Infrastructure
) -> None:
    may = topology.Permission("^$", "^$", f"^{task_key(NORTH)}$")
    Management(infrastructure.home, infrastructure.ports, infrastructure.vhost).put_user(
        "reader", "its-password", may
    )
    message_id = new_message_id()
    publisher = Publisher(border.broker, "test")
    task = Envelope(TASKS, task_key(NORTH), b"{", message_id, "corr")
    (outcome,) = publisher.publish([task], 10)
    publisher.close()
    assert outcome.confirmed
    login = BrokerSettings(username="reader", password="its-password")
    reader = border.broker.model_copy(
        update={"username": login.username, "password": login.password}
    )
    with _connect(reader) as connection:
        channel = connection.channel()
        method, _, _ = channel.basic_get(task_key(NORTH))
        channel.basic_reject(method.delivery_tag, requeue=False)
        letter = border.letter(message_id)
    assert (letter.reason, letter.project_id) == ("rejected", NORTH)
