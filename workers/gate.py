"""What stands between the queue and Celery: only a task that Loom itself could have sent passes.

Celery acknowledges some bad messages (that is, loses them), rejects others without a reason, and
stops on a few: it believes headers like `eta`, `expires`, `timelimit` and `chain`. So it gets every
message written anew from what was read of it, and never sees one that cannot be read.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import Any

from kombu import compression
from kombu.message import Message

from loom.errors import UnreadableMessage
from loom.messaging import task
from loom.messaging.envelope import JSON, Delivery
from loom.messaging.task import Task
from loom.messaging.topology import task_key
from workers.transport import UNDECODABLE


def refuse_compression() -> None:
    """Let kombu inflate no message: it would do so before anyone could look at its size.

    A compressed message then comes as it is, to Consumer.on_decode_error.
    """
    for content_type in compression.encoders():  # type: ignore[no-untyped-call]
        compression.register(None, _refuse, content_type)  # type: ignore[no-untyped-call]


def admit(message: Message, project_id: str) -> Task:
    """The task in a message for that project; raises UnreadableMessage with `reason` in its data.

    What Celery goes on to read in the message is then as Loom writes it.
    """
    headers = _headers(message)
    if UNDECODABLE in headers:
        raise UnreadableMessage(
            f"its headers cannot be decoded: {headers[UNDECODABLE]}", reason="malformed"
        )
    if headers.get("compression"):
        raise UnreadableMessage(
            f"the body is compressed ({headers['compression']!r}): Loom writes it plain",
            reason="wrong_type",
        )
    if message.content_type != JSON:
        raise UnreadableMessage(
            f"the content type is {message.content_type!r}, not {JSON!r}", reason="wrong_type"
        )
    if not _is_utf8(message.content_encoding):
        raise UnreadableMessage(
            f"the content encoding is {message.content_encoding!r}, not 'utf-8'",
            reason="wrong_type",
        )
    try:
        read = task.read(headers, raw_body(message))
    except (ValueError, RecursionError) as error:
        raise UnreadableMessage(f"it cannot be read: {error}", reason="malformed") from error
    if read.message.project_id != project_id:
        raise UnreadableMessage(
            f"it is for the project {read.message.project_id!r}, and this queue is {project_id}'s",
            reason="wrong_project",
        )
    anew = task.to_envelope(read)
    message.headers = dict(anew.headers)
    message.body = anew.body
    message.content_type, message.content_encoding = JSON, "utf-8"
    return read


def delivery(message: Message, project_id: str) -> Delivery:
    """The message as it was delivered."""
    info: Mapping[str, Any] = message.delivery_info
    properties: Mapping[str, Any] = message.properties
    return Delivery(
        tag=message.delivery_tag,
        queue=task_key(project_id),
        exchange=str(info.get("exchange") or ""),
        routing_key=str(info.get("routing_key") or ""),
        body=raw_body(message),
        headers=_headers(message),
        message_id=str(properties.get("message_id") or ""),
        correlation_id=str(properties.get("correlation_id") or ""),
        content_type=str(message.content_type or ""),
        redelivered=bool(info.get("redelivered")),
    )


def raw_body(message: Message) -> bytes:
    """The bytes of the body: amqp decodes it where the message names an encoding that it knows."""
    body = message.body
    if isinstance(body, str):
        return body.encode(message.content_encoding or "utf-8")
    return bytes(body or b"")


def _headers(message: Message) -> Mapping[str, Any]:
    return message.headers if isinstance(message.headers, dict) else {}


def _is_utf8(encoding: object) -> bool:
    if not encoding:
        return True
    try:
        return codecs.lookup(str(encoding)).name == "utf-8"
    except LookupError:
        return False


def _refuse(_body: bytes) -> bytes:
    raise ValueError("compressed messages are not taken")
