"""Answers that go on for long: to a reader that may stall, leave, or be cut off."""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import Response, request

EVENTS = "text/event-stream"
SEND_S = 30.0
"""How long a reader may take nothing before it is cut off."""
HELD_BYTES = 64 * 1024
"""What may be on its way to one reader."""
SOCKET = "gunicorn.socket"
"""Where gunicorn puts the connection of a request."""


def streamed(pieces: Iterator[bytes], kind: str, done: Callable[[], None]) -> Response:
    """The pieces as they come, to a reader that may not stall for ever; done: called at its end."""
    connection = request.environ.get(SOCKET)
    if connection is not None:
        connection.settimeout(SEND_S)
        # Else the kernel takes in megabytes for a reader that takes nothing.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, HELD_BYTES)

    def end() -> None:
        if connection is not None:
            connection.settimeout(None)
        done()

    response = Response(pieces, content_type=kind)
    response.call_on_close(end)
    if kind == EVENTS:
        response.headers["Cache-Control"] = "no-store"
        # Or a proxy would gather events before it passes them on.
        response.headers["X-Accel-Buffering"] = "no"
    return response


def reader_left() -> Callable[[], bool]:
    """Tells whether the reader of the current request has closed the connection."""
    connection: socket.socket | None = request.environ.get(SOCKET)

    def gone() -> bool:
        if connection is None or connection.fileno() < 0:
            return connection is not None
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        try:
            return bool(poll.poll(0)) and connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    return gone


def frame(kind: str, id_: str, document: Mapping[str, Any]) -> bytes:
    """One server-sent event. Source: html.spec.whatwg.org, server-sent events."""
    data = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return f"id: {id_}\nevent: {kind}\ndata: {data}\n\n".encode()
