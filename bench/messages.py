"""Messages a second through Loom's own broker clients, beside raw pika and raw py-amqp.

Every side does the same work against a quorum queue of its own, publishing in one process and
consuming in another at the same time, so that neither waits for the other's interpreter:

- one task message as the dispatcher makes it, body, headers and properties alike: persistent,
  mandatory, in the publisher's own name, each with a message id of its own, made as it is sent;
- confirms by the broker, and no more than WINDOW messages that wait for theirs;
- no more than PREFETCH deliveries on their way, acknowledged together about BATCH at a time.

loom: `Publisher.publish` with WINDOW messages at a time as the dispatcher does it, which waits for
all of their confirms before the next; `Consumer.batches` with BATCH at a time as the ingester does.

pika: SelectConnection on the main thread, the fastest way it has that is part of its documented
interface. The window slides: what is confirmed makes room at once. BlockingConnection would wait
for each confirm by itself.

py-amqp: `confirm_select`, `basic_publish` and `drain_events`; here the window slides too. Its own
`confirm_publish` would wait for each confirm by itself.

Published: confirmed a second, from the first message after a warm-up of one to the last confirm.
Consumed: a second, from the first delivery to the last, so that a consumer that falls behind is
measured until it has caught up. Every message is numbered and the consumer ticks the numbers off.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import takewhile
from statistics import median
from typing import Any

import amqp  # type: ignore[import-untyped]
import pika
import structlog
from pika import exceptions, spec
from pika.channel import Channel
from pika.frame import Method

from loom.broker.connection import parameters
from loom.broker.consumer import Consumer
from loom.broker.publisher import PERSISTENT, Publisher
from loom.dispatcher.dispatcher import BATCH as WINDOW
from loom.domain.identity import new_message_id
from loom.drill.small import Small
from loom.errors import DeadlineExceeded
from loom.ingester.intake import BATCH, PREFETCH, WAIT_S
from loom.messaging.envelope import Envelope
from loom.messaging.task import Task, TaskData, TaskMessage, to_envelope
from loom.settings import BrokerSettings

Tell = Callable[[str], None]
SERVICE = "bench"
BODY_BYTES = 1024
WARM_UP_S = 0.5
CATCH_UP_S = 60.0
"""How long a consumer may take after the publisher ended."""
QUEUE = {"x-queue-type": "quorum"}
LAST = "last-"
"""How the id of the message begins that ends a round; how many came before it follows."""


@dataclass(slots=True)
class Sent:
    """What a publisher did. confirmed: how many messages; refused: what was not confirmed."""

    confirmed: int = 0
    refused: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0


@dataclass(slots=True)
class Seen:
    """What a consumer got, each number ticked off."""

    numbers: set[int] = field(default_factory=set)
    expected: int | None = None
    doubled: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    cpu_s: float = 0.0

    def note(self, message_id: str) -> None:
        """A message came."""
        self.last_at = time.perf_counter()
        if message_id.startswith(LAST):
            self.expected = int(message_id.removeprefix(LAST))
            return
        if not self.numbers:
            self.first_at = self.last_at
            self.cpu_s = time.process_time()
        number = int(message_id)
        if number in self.numbers:
            self.doubled += 1
        self.numbers.add(number)

    @property
    def done(self) -> bool:
        """All that was sent has come."""
        return self.expected is not None and len(self.numbers) >= self.expected

    def told(self) -> dict[str, Any]:
        """What the round needs of it."""
        count = len(self.numbers)
        seconds = self.last_at - self.first_at
        return {
            "count": count,
            "lost": None if self.expected is None else self.expected - count,
            "doubled": self.doubled,
            "per_s": count / seconds if seconds > 0 else 0.0,
            "cpu_us": (time.process_time() - self.cpu_s) / count * 1e6 if count else 0.0,
        }


Publish = Callable[[BrokerSettings, Envelope, float], Sent]
Consume = Callable[[BrokerSettings, str, Seen, float], None]


def measure(site: Small, seconds: float, rounds: int, tell: Tell) -> dict[str, Any]:
    """Rates of each side over the rounds, which come in turns; what was lost or doubled, too."""
    settings = site.broker_settings()
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, initializer=_quiet) as pool:
        for side in SIDES:
            _round(pool, settings, side, min(WARM_UP_S, seconds))
        for number in range(rounds):
            order = list(SIDES)
            first = number % len(order)
            # Each comes first, second, ... as often: what warms up or fills up harms none alone.
            for side in order[first:] + order[:first]:
                figures = _round(pool, settings, side, seconds)
                found[side].append(figures)
                tell(
                    f"round {number + 1}, {side}: {figures['published_per_s']:.0f} published and "
                    f"{figures['consumed_per_s']:.0f} consumed a second, "
                    f"{figures['lost']} lost, {figures['doubled']} doubled"
                )
    return {
        "seconds": seconds,
        "rounds": rounds,
        "body_bytes": len(_envelope("").body),
        "window": WINDOW,
        "prefetch": PREFETCH,
        "acknowledged_at_once": BATCH,
        "sides": {side: _together(each) for side, each in found.items()},
        "loom_to": {side: _ratios(found["loom"], found[side]) for side in SIDES if side != "loom"},
    }


def _round(
    pool: ProcessPoolExecutor, settings: BrokerSettings, side: str, seconds: float
) -> dict[str, Any]:
    queue = f"loom.bench.{side}.{new_message_id()}"
    with _queue(settings, queue) as consumers:
        consumed = pool.submit(_consume, settings, side, queue, seconds + CATCH_UP_S)
        _until(lambda: consumers() == 1 or consumed.done(), f"{side} does not consume")
        published = pool.submit(_publish, settings, side, queue, seconds)
        sent = published.result(seconds + CATCH_UP_S)
        seen = consumed.result(seconds + CATCH_UP_S * 2)
    return {
        "messages": sent.confirmed,
        "unconfirmed": sent.refused,
        # A consumer that never got the last message has lost all that it does not have.
        "lost": sent.confirmed - seen["count"] if seen["lost"] is None else seen["lost"],
        "doubled": seen["doubled"],
        "published_per_s": (sent.confirmed - 1) / sent.seconds,
        "consumed_per_s": seen["per_s"],
        "publisher_cpu_us": sent.cpu_s / max(1, sent.confirmed) * 1e6,
        "consumer_cpu_us": seen["cpu_us"],
    }


@contextmanager
def _queue(settings: BrokerSettings, name: str) -> Iterator[Callable[[], int]]:
    """A queue, which is gone afterwards; yields what tells how many consume it."""
    connection = pika.BlockingConnection(parameters(settings, SERVICE))
    channel = connection.channel()
    try:
        channel.queue_declare(name, durable=True, arguments=QUEUE)
        yield lambda: int(channel.queue_declare(name, passive=True).method.consumer_count)
    finally:
        channel.queue_delete(name)
        connection.close()


def _until(holds: Callable[[], bool], otherwise: str, timeout_s: float = 15.0) -> None:
    """Look until it holds; raises DeadlineExceeded."""
    give_up = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > give_up:
            raise DeadlineExceeded(f"after {timeout_s:g} s {otherwise}")
        time.sleep(0.02)


def _together(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The rounds of one side."""
    sums = {
        key: sum(each[key] for each in rounds)
        for key in ("messages", "unconfirmed", "lost", "doubled")
    }
    return sums | {
        key: _spread([each[key] for each in rounds])
        for key in ("published_per_s", "consumed_per_s", "publisher_cpu_us", "consumer_cpu_us")
    }


def _ratios(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Loom's rate by theirs in the same round: the median, which a slow stretch of all leaves."""
    if not ours:
        return {}
    return {
        key: round(median(a[key] / b[key] for a, b in zip(ours, theirs, strict=True)), 2)
        for key in ("published_per_s", "consumed_per_s")
    }


def _spread(samples: Iterable[float]) -> dict[str, Any]:
    told = [round(each, 1) for each in samples]
    if not told:
        return {"samples": []}
    return {"median": round(median(told), 1), "min": min(told), "max": max(told), "samples": told}


def _envelope(queue: str) -> Envelope:
    """A task as the dispatcher publishes it, to the queue itself."""
    message = TaskMessage(
        type="task.assigned",
        project_id="bench",
        bead_id="bench-1a2b3c4d",
        assigned_to="agents of bench",
        task_data=TaskData(title="Straighten what is crooked", context={"timeout_s": 600}),
        correlation_id=new_message_id(),
        timestamp=datetime.now(UTC),
    )
    trace = f"00-{'4b' * 16}-{'a1' * 8}-01"
    task = Task(message, new_message_id(), epoch=1, attempt=1, traceparent=trace)
    rest = "." * (BODY_BYTES - len(to_envelope(task).body))
    data = message.task_data.model_copy(update={"description": rest})
    full = replace(task, message=message.model_copy(update={"task_data": data}))
    return replace(to_envelope(full), exchange="", routing_key=queue)


# What follows runs in the two processes.


def _quiet() -> None:
    """Standard output is the parent's."""
    logging.getLogger("pika").setLevel(logging.ERROR)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _publish(settings: BrokerSettings, side: str, queue: str, seconds: float) -> Sent:
    return SIDES[side][0](settings, _envelope(queue), seconds)


def _consume(settings: BrokerSettings, side: str, queue: str, timeout_s: float) -> dict[str, Any]:
    seen = Seen()
    SIDES[side][1](settings, queue, seen, timeout_s)
    return seen.told()


def _numbered(number: int) -> str:
    """The message id of a number, as long as any other."""
    return f"{number:032d}"


def _loom_publish(settings: BrokerSettings, template: Envelope, seconds: float) -> Sent:
    publisher, sent, number = Publisher(settings, SERVICE), Sent(), 0

    def publish(count: int) -> None:
        nonlocal number
        ids = [_numbered(each) for each in range(number, number + count)]
        number += count
        outcomes = publisher.publish(
            [replace(template, message_id=each) for each in ids], settings.timeout_s
        )
        confirmed = sum(outcome.confirmed for outcome in outcomes)
        sent.confirmed += confirmed
        sent.refused += count - confirmed

    try:
        publish(1)
        began, cpu = time.perf_counter(), time.process_time()
        while time.perf_counter() - began < seconds:
            publish(WINDOW)
        sent.seconds, sent.cpu_s = time.perf_counter() - began, time.process_time() - cpu
        publisher.publish([replace(template, message_id=f"{LAST}{number}")], settings.timeout_s)
    finally:
        publisher.close()
    return sent


def _loom_consume(settings: BrokerSettings, queue: str, seen: Seen, timeout_s: float) -> None:
    stopping = threading.Event()
    timer = threading.Timer(timeout_s, stopping.set)
    timer.start()
    try:
        for taken in Consumer(settings, SERVICE, queue, PREFETCH).batches(BATCH, WAIT_S, stopping):
            for delivery in taken.deliveries:
                seen.note(delivery.message_id)
            taken.ack(taken.deliveries)
            if seen.done:
                stopping.set()
    finally:
        timer.cancel()


class Window:
    """What the raw clients have sent and not had confirmed; write sends a message of this id."""

    def __init__(self, write: Callable[[str], None], seconds: float) -> None:
        self.sent = Sent()
        self._write, self._seconds = write, seconds
        self._waiting: dict[int, None] = {}
        self._number = self._tag = 0
        self._began = self._cpu = 0.0
        self._ended = False

    def go(self) -> bool:
        """Send what there is room for; False when all is confirmed and the time is over."""
        if not self._number:
            self._send(_numbered(0))
        if not self._began:
            if self._waiting:
                return True
            self._began, self._cpu = time.perf_counter(), time.process_time()
        while time.perf_counter() - self._began < self._seconds:
            if len(self._waiting) >= WINDOW:
                return True
            self._send(_numbered(self._number))
        if not self._waiting and not self._ended:
            self.sent.seconds = time.perf_counter() - self._began
            self.sent.cpu_s = time.process_time() - self._cpu
            self._ended = True
            self._send(f"{LAST}{self._number}")
        return bool(self._waiting)

    def answered(self, tag: int, multiple: bool, *, acked: bool) -> None:
        """The broker acked or nacked a tag, or every tag up to it."""
        tags = list(takewhile(lambda each: each <= tag, self._waiting)) if multiple else [tag]
        for each in tags:
            del self._waiting[each]
        if self._ended:
            return
        if acked:
            self.sent.confirmed += len(tags)
        else:
            self.sent.refused += len(tags)

    def _send(self, message_id: str) -> None:
        # The confirm may come while the message is being written.
        self._number += 1
        self._tag += 1
        self._waiting[self._tag] = None
        self._write(message_id)


class Pika:
    """A SelectConnection with one channel, which runs until it is closed. ready: the first call."""

    def __init__(
        self, settings: BrokerSettings, ready: Callable[[Channel], None], timeout_s: float
    ) -> None:
        self._error: BaseException | None = None
        self._connection = pika.SelectConnection(
            parameters(settings, SERVICE),
            on_open_callback=lambda connection: connection.channel(on_open_callback=ready),
            on_open_error_callback=self._ended,
            on_close_callback=self._ended,
        )
        self._connection.ioloop.call_later(timeout_s, self.close)

    def run(self) -> None:
        """Return when it was closed; raises what else ended it."""
        self._connection.ioloop.start()
        if not isinstance(self._error, exceptions.ConnectionClosedByClient | None):
            raise self._error

    def close(self) -> None:
        """Let run return."""
        if not self._connection.is_closed and not self._connection.is_closing:
            self._connection.close()

    def _ended(self, _connection: object, error: BaseException | None) -> None:
        self._error = error
        self._connection.ioloop.stop()


def _pika_publish(settings: BrokerSettings, template: Envelope, seconds: float) -> Sent:
    def write(message_id: str) -> None:
        channels[0].basic_publish(
            template.exchange,
            template.routing_key,
            template.body,
            pika.BasicProperties(
                content_type=template.content_type,
                content_encoding="utf-8",
                headers=headers,
                delivery_mode=PERSISTENT,
                correlation_id=template.correlation_id,
                message_id=message_id,
                user_id=settings.username,
            ),
            mandatory=True,
        )

    def ready(channel: Channel) -> None:
        channels.append(channel)
        channel.confirm_delivery(on_answer, callback=lambda _frame: window.go())

    def on_answer(method: Method) -> None:
        answer = method.method
        acked = isinstance(answer, spec.Basic.Ack)
        window.answered(answer.delivery_tag, answer.multiple, acked=acked)
        if not window.go():
            client.close()

    channels: list[Channel] = []
    headers = dict(template.headers)
    window = Window(write, seconds)
    client = Pika(settings, ready, seconds + CATCH_UP_S)
    client.run()
    return window.sent


def _pika_consume(settings: BrokerSettings, queue: str, seen: Seen, timeout_s: float) -> None:
    waiting = 0

    def ready(channel: Channel) -> None:
        channel.add_on_cancel_callback(lambda _frame: client.close())
        channel.basic_qos(
            prefetch_count=PREFETCH,
            callback=lambda _frame: channel.basic_consume(queue, on_message),
        )

    def on_message(
        channel: Channel, deliver: spec.Basic.Deliver, properties: pika.BasicProperties, _: bytes
    ) -> None:
        nonlocal waiting
        seen.note(str(properties.message_id))
        waiting += 1
        if waiting >= BATCH or seen.done:
            channel.basic_ack(deliver.delivery_tag, multiple=True)
            waiting = 0
        if seen.done:
            client.close()

    client = Pika(settings, ready, timeout_s)
    client.run()


def _amqp_connection(settings: BrokerSettings) -> amqp.Connection:
    return amqp.Connection(
        host=f"{settings.host}:{settings.port}",
        userid=settings.username,
        password=settings.password.get_secret_value(),
        virtual_host=settings.vhost,
    )


def _amqp_publish(settings: BrokerSettings, template: Envelope, seconds: float) -> Sent:
    headers = dict(template.headers)
    with _amqp_connection(settings) as connection:
        channel = connection.channel()

        def write(message_id: str) -> None:
            message = amqp.Message(
                template.body,
                content_type=template.content_type,
                content_encoding="utf-8",
                application_headers=headers,
                delivery_mode=PERSISTENT,
                correlation_id=template.correlation_id,
                message_id=message_id,
                user_id=settings.username,
            )
            channel.basic_publish(message, template.exchange, template.routing_key, mandatory=True)

        window = Window(write, seconds)
        channel.events["basic_ack"].add(partial(window.answered, acked=True))
        channel.events["basic_nack"].add(partial(window.answered, acked=False))
        channel.confirm_select()
        while window.go():
            connection.drain_events(timeout=CATCH_UP_S)
        return window.sent


def _amqp_consume(settings: BrokerSettings, queue: str, seen: Seen, timeout_s: float) -> None:
    give_up, waiting = time.monotonic() + timeout_s, 0
    with _amqp_connection(settings) as connection:
        channel = connection.channel()

        def on_message(message: amqp.Message) -> None:
            nonlocal waiting
            seen.note(message.properties["message_id"])
            waiting += 1
            if waiting >= BATCH or seen.done:
                channel.basic_ack(message.delivery_tag, multiple=True)
                waiting = 0

        channel.basic_qos(0, PREFETCH, False)
        channel.basic_consume(queue, callback=on_message)
        while not seen.done and time.monotonic() < give_up:
            with suppress(TimeoutError):
                connection.drain_events(timeout=1.0)


SIDES: dict[str, tuple[Publish, Consume]] = {
    "loom": (_loom_publish, _loom_consume),
    "pika": (_pika_publish, _pika_consume),
    "py-amqp": (_amqp_publish, _amqp_consume),
}
