"""The gate between the queue and Celery."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from kombu import compression
from kombu.message import Message

from loom.errors import UnreadableMessage
from loom.messaging import task
from loom.messaging.task import Task, TaskData, TaskMessage
from workers import gate

WRITTEN = task.to_envelope(
    Task(
        TaskMessage(
            type="task.assigned", project_id="demo", bead_id="bd-1", assigned_to="agents",
            task_data=TaskData(title="Müll", context={"patch": "x"}), correlation_id="c",
            timestamp=datetime(2026, 1, 1, tzinfo=UTC),
        ),
        "m-1",
        epoch=3,
        attempt=2,
        traceparent="00-" + "ab" * 16 + "-" + "cd" * 8 + "-01",
    )
)  # fmt: skip


def message(**changes: Any) -> Message:
    values: dict[str, Any] = {
        "body": WRITTEN.body, "headers": dict(WRITTEN.headers), "content_type": "application/json",
        "content_encoding": "utf-8", "delivery_tag": 1, "properties": {"message_id": "m-1"},
        "delivery_info": {"exchange": "loom.tasks", "routing_key": "loom.tasks.demo"},
    }  # fmt: skip
    return Message(**values | changes)


def test_what_the_dispatcher_writes_passes_as_it_is() -> None:
    received = message()
    admitted = gate.admit(received, "demo")
    assert (admitted.message.bead_id, admitted.epoch, admitted.attempt) == ("bd-1", 3, 2)
    assert (received.headers, received.body) == (dict(WRITTEN.headers), WRITTEN.body)


def test_celery_sees_only_what_loom_would_have_written() -> None:
    body = json.loads(WRITTEN.body)
    body[1] = {"countdown": 5}
    body[2] = {"callbacks": [{"task": "os.system"}], "chain": [{"task": "os.system"}]}
    odd = {"eta": "2999-01-01", "expires": "1999-01-01", "timelimit": [1, 1], "id": "other"}
    received = message(body=json.dumps(body).encode(), headers={**WRITTEN.headers, **odd})
    gate.admit(received, "demo")
    assert (received.headers, received.body) == (dict(WRITTEN.headers), WRITTEN.body)


def test_a_body_that_amqp_has_decoded_is_read_all_the_same() -> None:
    assert gate.admit(message(body=WRITTEN.body.decode()), "demo").message.task_data.title == "Müll"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"content_type": "application/x-python-serialize"}, "wrong_type"),
        ({"content_type": None}, "wrong_type"),
        ({"content_encoding": "latin-1"}, "wrong_type"),
        ({"content_encoding": "klingon"}, "wrong_type"),
        ({"headers": None}, "unknown_type"),
        ({"headers": {"x-loom-undecodable": "OSError"}}, "malformed"),
        ({"body": None}, "malformed"),
        ({"body": b"[" * 100_000}, "malformed"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UnreadableMessage) as refusal:
        gate.admit(message(**changes), "demo")
    assert refusal.value.data["reason"] == reason


def test_another_projects_task_is_refused() -> None:
    with pytest.raises(UnreadableMessage) as refusal:
        gate.admit(message(), "other")
    assert refusal.value.data["reason"] == "wrong_project"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16-le"])
def test_a_dead_letters_body_is_the_bytes_that_came(encoding: str) -> None:
    raw = b"\xe4\x00b\x00"
    received = message(body=raw, content_encoding=encoding)
    if encoding != "utf-8":
        received.body = raw.decode(encoding)
    assert gate.delivery(received, "demo").body == raw


def test_no_compressed_body_is_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in ("_encoders", "_decoders"):
        monkeypatch.setattr(compression, table, dict(getattr(compression, table)))
    gate.refuse_compression()
    bomb = gzip.compress(b"0" * 1_000_000)
    received = message(body=bomb, headers={"compression": "application/x-gzip"})
    assert received.errors
    assert received.body == bomb
