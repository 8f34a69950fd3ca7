"""One connection to RabbitMQ on a thread of its own, which answers heartbeats by itself."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pika
from pika import exceptions, frame, spec
from pika.adapters.select_connection import IOLoop
from pika.adapters.utils.connection_workflow import AMQPConnectionWorkflowFailed

from loom.errors import Unavailable
from loom.settings import BrokerSettings

BLOCKED_TIMEOUT_S = 300.0
"""How long the broker may block a connection (memory or disk alarm) before it is given up."""
CLOSE_TIMEOUT_S = 1.0
"""How long the broker may take to answer the close before the socket is shut anyhow."""
GATHERED_BYTES = 64 * 1024
"""How much is written at once: pika writes each of a message's three frames by itself."""

UNDECODABLE = "x-loom-undecodable"
"""Stands for the headers of a message whose own headers cannot be decoded."""


def parameters(settings: BrokerSettings, service: str) -> pika.ConnectionParameters:
    """How pika connects to the first node; service names it on the management pages."""
    return every_parameters(settings, service)[0]


def every_parameters(settings: BrokerSettings, service: str) -> list[pika.ConnectionParameters]:
    """How pika connects to each node; all together they have the settings' time."""
    share_s = settings.timeout_s / len(settings.addresses)
    return [
        _parameters(settings, service, host, port, share_s) for host, port in settings.addresses
    ]


def _parameters(
    settings: BrokerSettings, service: str, host: str, port: int, timeout_s: float
) -> pika.ConnectionParameters:
    return pika.ConnectionParameters(
        host=host,
        port=port,
        virtual_host=settings.vhost,
        credentials=pika.PlainCredentials(
            settings.username, settings.password.get_secret_value(), erase_on_connect=False
        ),
        heartbeat=settings.heartbeat_s,
        blocked_connection_timeout=BLOCKED_TIMEOUT_S,
        connection_attempts=1,
        socket_timeout=timeout_s,
        stack_timeout=timeout_s,
        client_properties={"connection_name": service},
    )


def where(settings: BrokerSettings) -> str:
    """The broker in words, without the password."""
    nodes = " or ".join(f"{host}:{port}" for host, port in settings.addresses)
    return f"the broker at {nodes} (vhost {settings.vhost})"


def reason_of(error: BaseException) -> str:
    """What ended a connection or a channel, in words."""
    while (cause := _wrapped(error)) is not None:
        error = cause
    if isinstance(error, exceptions.ConnectionClosed | exceptions.ChannelClosed):
        return f"{error.reply_code} {error.reply_text}"
    if isinstance(error, exceptions.ProbableAuthenticationError | exceptions.AuthenticationError):
        return "it refuses the user or its password"
    if isinstance(error, exceptions.ProbableAccessDeniedError):
        return "the user may not use the vhost, or there is no such vhost"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return f"{type(error).__name__}: {error}"


def _wrapped(error: BaseException) -> BaseException | None:
    """What pika wrapped into its own error: the last of several, an attribute, or an argument."""
    if isinstance(error, AMQPConnectionWorkflowFailed) and error.exceptions:
        inners = error.exceptions[-1:]
    else:
        inners = [getattr(error, "exception", None), *error.args]
    return next((inner for inner in inners if isinstance(inner, BaseException)), None)


class Connection(pika.SelectConnection):  # type: ignore[misc]
    """pika's connection, which can gather writes, outlives odd headers, and can be cut off."""

    _gathered: list[bytes] | None = None
    _gathered_bytes = 0

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Write what the block sends in large pieces: small messages go out about twice as fast."""
        self._gathered, self._gathered_bytes = [], 0
        try:
            yield
        finally:
            gathered, self._gathered = self._gathered, None
            if gathered:
                super()._adapter_emit_data(b"".join(gathered))

    def cut(self, why: str) -> None:
        """Shut the socket without asking the broker."""
        if not self.is_closed:
            self._terminate_stream(exceptions.StreamLostError(why))

    def _adapter_emit_data(self, data: bytes) -> None:
        if self._gathered is None:
            super()._adapter_emit_data(data)
            return
        self._gathered.append(data)
        self._gathered_bytes += len(data)
        if self._gathered_bytes >= GATHERED_BYTES:
            super()._adapter_emit_data(b"".join(self._gathered))
            self._gathered, self._gathered_bytes = [], 0

    def _read_frame(self) -> tuple[int, frame.Frame | frame.ProtocolHeader | None]:
        try:
            read: tuple[int, frame.Frame | frame.ProtocolHeader | None] = super()._read_frame()
        except Exception as error:
            # pika cannot decode some values that AMQP allows (a date far off), and drops
            # the connection: one message would end its consumer again and again.
            undecodable = _bare_header(self._frame_buffer, error)
            if undecodable is None:
                raise
            return undecodable
        return read


def _bare_header(buffer: bytes, error: Exception) -> tuple[int, frame.Header] | None:
    kind, channel, size = struct.unpack_from(">BHL", buffer)
    end = spec.FRAME_HEADER_SIZE + size + spec.FRAME_END_SIZE
    if kind != spec.FRAME_HEADER or size < 12 or buffer[end - 1] != spec.FRAME_END:
        return None
    _class, _weight, body_bytes = struct.unpack_from(">HHQ", buffer, spec.FRAME_HEADER_SIZE)
    properties = pika.BasicProperties(headers={UNDECODABLE: f"{type(error).__name__}: {error}"})
    return end, frame.Header(channel, body_bytes, properties)


class Link:
    """A connection with its thread, to the first node that can be used.

    on_open runs on that thread once the connection is open, and has to lead to ready(); on_end
    runs once, at the end, with the reason. Everything of pika's is touched on that thread alone:
    do() hands a call over.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        service: str,
        on_open: Callable[[Connection], None],
        on_end: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._untried = every_parameters(settings, service)
        self._on_open, self._on_end = on_open, on_end
        self._loop = IOLoop()
        self._connection: Connection | None = None
        self._usable_or_ended = threading.Event()
        self._lock = threading.Lock()
        self._ended = False
        self._why = ""
        self._thread = threading.Thread(target=self._run, name=f"amqp-{service}", daemon=True)

    def open(self) -> None:
        """Connect, and return when the link is ready; raises Unavailable saying what is wrong."""
        self._thread.start()
        if not self._usable_or_ended.wait(self._settings.timeout_s):
            self.close()
            raise Unavailable(
                f"{where(self._settings)} did not answer in {self._settings.timeout_s:g} s"
            )
        if self.ended:
            raise Unavailable(f"{where(self._settings)} cannot be used: {self._why}")

    @property
    def ended(self) -> bool:
        """The connection is gone; do() does nothing any more."""
        return self._ended

    @property
    def usable(self) -> bool:
        """It is open, and not about to end."""
        return not self._ended and not self._why

    @property
    def why(self) -> str:
        """What ended it."""
        return self._why

    def ready(self) -> None:
        """Let open() return."""
        self._usable_or_ended.set()

    def do(self, call: Callable[[], None]) -> bool:
        """Run call on the connection's thread, in order; False if the connection is gone."""
        with self._lock:
            if self._ended:
                return False
            self._loop.add_callback_threadsafe(call)
            return True

    def fail(self, why: str) -> None:
        """End the link for this reason; on the connection's thread."""
        self._why = self._why or why
        connection = self._connection
        if connection is None or connection.is_closed or connection.is_closing:
            return
        self._loop.call_later(CLOSE_TIMEOUT_S, lambda: connection.cut("the close took too long"))
        connection.close()

    def close(self, *, wait: bool = False) -> None:
        """Close the connection after everything handed over; wait: until its thread has ended."""
        self.do(lambda: self.fail("closed"))
        if wait and self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT_S * 2)

    def _run(self) -> None:
        try:
            self._connect()
            self._loop.start()
        except Exception as error:  # noqa: BLE001 - whatever it is ends the link, with its reason
            self._why = self._why or reason_of(error)
        with self._lock:
            self._ended = True
        self._on_end(self._why)
        self._usable_or_ended.set()
        self._loop.close()

    def _connect(self) -> None:
        self._connection = Connection(
            self._untried.pop(0),
            on_open_callback=self._on_open,
            on_open_error_callback=self._try_next,
            on_close_callback=self._stop,
            custom_ioloop=self._loop,
        )

    def _try_next(self, connection: object, error: BaseException | None) -> None:
        if self._untried and not self._why:
            self._connect()
        else:
            self._stop(connection, error)

    def _stop(self, _connection: object, error: BaseException | None) -> None:
        self._why = self._why or (reason_of(error) if error else "closed")
        self._loop.stop()
