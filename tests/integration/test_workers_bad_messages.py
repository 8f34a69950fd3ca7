"""What no agent can read: dead-lettered with its reason, and the agent goes on."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pika
import pytest
from agent_stand import AgentProcess, Stand, stand_up

from loom.broker.connection import parameters
from loom.database.migrate import upgrade
from loom.domain.identity import new_message_id
from loom.messaging import task
from loom.messaging.deadletter import REASON
from loom.messaging.envelope import Envelope
from loom.messaging.task import Task, TaskData, TaskMessage
from loom.testing.database import running_database
from loom.testing.infrastructure import Infrastructure


@pytest.fixture(scope="module")
def stand(
    infrastructure: Infrastructure, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stand]:
    """A project on a vhost and a database of this file's own."""
    settings = infrastructure.make_database("workers_bad")
    upgrade(infrastructure.migration_named("workers_bad"))
    folder = tmp_path_factory.mktemp("workers")
    with running_database(settings, projects=("demo",)) as database:
        made = stand_up(infrastructure, "workers-bad", database, folder)
        yield made
        made.close()


@pytest.fixture(scope="module")
def agent(stand: Stand) -> Iterator[AgentProcess]:
    """The project's agent."""
    with stand.agent() as running:
        running.wait_for("agent_starts")
        yield running


def good() -> Envelope:
    """A message as the dispatcher writes it."""
    message = TaskMessage(
        type="task.assigned",
        project_id="demo",
        bead_id="bd-none",
        assigned_to="agents of demo",
        task_data=TaskData(title="Nothing"),
        correlation_id="corr-bad",
        timestamp=datetime.now(UTC),
    )
    return task.to_envelope(Task(message, new_message_id(), epoch=1, attempt=1))


def _with_field(name: str, value: Any) -> Callable[[Envelope], Envelope]:
    def change(envelope: Envelope) -> Envelope:
        body = json.loads(envelope.body)
        body[0][0][name] = value
        return replace(envelope, body=json.dumps(body).encode())

    return change


def _with_header(name: str, value: Any) -> Callable[[Envelope], Envelope]:
    return lambda envelope: replace(envelope, headers={**envelope.headers, name: value})


def _with_body(body: bytes) -> Callable[[Envelope], Envelope]:
    return lambda envelope: replace(envelope, body=body)


def _without_headers(envelope: Envelope) -> Envelope:
    return replace(envelope, headers={})


BAD: dict[str, tuple[str, Callable[[Envelope], Envelope]]] = {
    "garbage": ("malformed", _with_body(b"\xff\xfe\x00 no json")),
    "empty": ("malformed", _with_body(b"")),
    "not Celery's form": ("malformed", _with_body(b'{"bead": 1}')),
    "nested without end": ("malformed", _with_body(b"[" * 100_000)),
    "too large": ("oversize", _with_body(b" " * (task.MAX_TASK_BYTES + 1))),
    "no headers": ("unknown_type", _without_headers),
    "another task": ("unknown_type", _with_header("task", "os.system")),
    "another type": ("unknown_type", _with_field("type", "task.exploded")),
    "a wrong type": ("wrong_type", _with_field("bead_id", 7)),
    "a bad bead id": ("wrong_type", _with_field("bead_id", "../../etc")),
    "a bad epoch": ("wrong_type", _with_header("epoch", "one")),
    "a newer version": ("unknown_version", _with_header("version", 99)),
    "another project's": ("wrong_project", _with_field("project_id", "other")),
    "a pickle": (
        "wrong_type",
        lambda envelope: replace(envelope, content_type="application/x-python-serialize"),
    ),
    "compressed": ("wrong_type", _with_header("compression", "application/x-gzip")),
    "compressed unheard-of": ("wrong_type", _with_header("compression", "application/x-nothing")),
}


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize("name", BAD)
def test_a_bad_message_is_dead_lettered_with_its_reason_and_the_next_bead_runs(
    stand: Stand, name: str
) -> None:
    reason, spoil = BAD[name]
    bad = spoil(good())
    stand.publish(bad)
    bead = stand.file(context={"test_command": ["true"]})
    letter = stand.dead_letter(bad.body)
    assert letter.headers[REASON] == reason
    assert letter.body == bad.body
    assert stand.result(bead.id).type == "task.completed"


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize("encoding", ["utf-16", "klingon", "binary"])
def test_a_body_in_another_encoding_is_dead_lettered_as_it_came(
    stand: Stand, encoding: str
) -> None:
    bad = good()
    properties = pika.BasicProperties(
        content_type=bad.content_type,
        content_encoding=encoding,
        headers=dict(bad.headers),
        message_id=bad.message_id,
        delivery_mode=2,
    )
    _publish(stand, bad, properties)
    letter = stand.dead_letter(bad.body)
    assert letter.headers[REASON] == "wrong_type"
    assert letter.body == bad.body


@pytest.mark.usefixtures("agent")
def test_headers_that_celery_would_obey_have_no_effect(stand: Stand) -> None:
    bead = stand.file(context={"test_command": ["true"]}, id="bd-obeys-not")
    assert stand.result(bead.id).type == "task.completed"
    odd = replace(
        good(),
        headers={
            **good().headers,
            "eta": "2999-01-01T00:00:00+00:00",
            "expires": "1999-01-01T00:00:00+00:00",
            "timelimit": ["x", 1],
            "id": None,
            "stamped_headers": [["a"]],
            "retries": "many",
        },
    )
    stand.publish(odd)
    after = stand.file(context={"test_command": ["true"]}, id="bd-after")
    assert stand.result(after.id).type == "task.completed"


@pytest.mark.usefixtures("agent")
def test_a_cancelled_task_is_taken_note_of_and_acknowledged(
    stand: Stand, agent: AgentProcess
) -> None:
    cancelled = _with_field("type", "task.cancelled")(good())
    stand.publish(cancelled)
    agent.wait_for("task_cancelled", bead_id="bd-none")


ODD = {
    "a date far off": b"T" + struct.pack(">Q", 2**62),
    "bytes": b"x" + struct.pack(">I", 2) + b"\xff\xfe",
    "text that is not UTF-8": b"S" + struct.pack(">I", 2) + b"\xff\xfe",
    "a decimal": b"D" + struct.pack(">Bi", 2, 314),
    "a float": b"f" + struct.pack(">f", 1.5),
}


@pytest.mark.usefixtures("agent")
@pytest.mark.parametrize("name", ODD)
def test_odd_header_values_do_no_harm(stand: Stand, name: str) -> None:
    bad = _with_body(f"the letter with {name}".encode())(good())
    _publish(stand, bad, _Raw(bad, _short(b"x-odd") + ODD[name]))
    bead = stand.file(context={"test_command": ["true"]})
    assert stand.result(bead.id).type == "task.completed"
    letter = stand.dead_letter(bad.body)
    assert letter.headers[REASON] in {"unknown_type", "malformed"}


class _Raw(pika.BasicProperties):
    """Properties with a header table of these very bytes."""

    def __init__(self, envelope: Envelope, table: bytes) -> None:
        super().__init__()
        self._envelope, self._table = envelope, table

    def encode(self) -> list[bytes]:
        """Content type, headers, delivery mode and message id, in the order of AMQP 0-9-1."""
        flags = self.FLAG_CONTENT_TYPE | self.FLAG_HEADERS
        flags |= self.FLAG_DELIVERY_MODE | self.FLAG_MESSAGE_ID
        return [
            struct.pack(">H", flags),
            _short(self._envelope.content_type.encode()),
            struct.pack(">I", len(self._table)) + self._table,
            struct.pack(">B", 2),
            _short(self._envelope.message_id.encode()),
        ]


def _short(text: bytes) -> bytes:
    return struct.pack(">B", len(text)) + text


def _publish(stand: Stand, envelope: Envelope, properties: pika.BasicProperties) -> None:
    connection = pika.BlockingConnection(parameters(stand.broker, "raw"))
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_publish(envelope.exchange, envelope.routing_key, envelope.body, properties)
    connection.close()
