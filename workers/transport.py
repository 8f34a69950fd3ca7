"""Kombu's AMQP transport, which outlives a message whose properties cannot be decoded.

py-amqp drops the connection over some values that AMQP allows (a date far off), so that one message
would end the agent's work, up to its delivery limit, again and again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from amqp.method_framing import frame_handler  # type: ignore[import-untyped]
from amqp.serialization import dumps  # type: ignore[import-untyped]
from kombu.transport import pyamqp

UNDECODABLE = "x-loom-undecodable"
"""Stands for the headers of a message whose own cannot be decoded, and says why."""

_HEADER_FRAME = 2
_HAS_HEADERS = 1 << 13
"""The flag of `headers` among the properties. Source: AMQP 0-9-1, 4.2.6.1 and class basic."""

Frame = tuple[int, int, Any]


def tolerant_frame_handler(connection: Any, callback: Any) -> Callable[[Frame], Any]:
    """py-amqp's handler of frames; a content header that it cannot decode is replaced."""
    on_frame = frame_handler(connection, callback)

    def handle(frame: Frame) -> Any:
        kind, channel, buffer = frame
        try:
            return on_frame(frame)
        except Exception as error:
            if kind != _HEADER_FRAME or len(buffer) < 12:
                raise
            return on_frame((kind, channel, _bare(bytes(buffer[:12]), error)))

    return handle


def _bare(head: bytes, error: Exception) -> bytes:
    """A content header with the same class and body size, whose only property says why."""
    why: bytes = dumps("F", [{UNDECODABLE: f"{type(error).__name__}: {error}"[:500]}])
    return head + struct.pack(">H", _HAS_HEADERS) + why


class Connection(pyamqp.Connection):
    """py-amqp's connection with that handler."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, frame_handler=tolerant_frame_handler, **options)


class Transport(pyamqp.Transport):
    """Kombu's transport with that connection."""

    Connection = Connection
