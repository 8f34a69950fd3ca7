"""Celery's consumer behind the gate: what no agent can read is dead-lettered, with its reason."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from amqp import spec  # type: ignore[import-untyped]
from amqp.exceptions import ConsumerCancelled  # type: ignore[import-untyped]
from celery.platforms import EX_OK
from celery.worker import state
from celery.worker.consumer import Consumer
from kombu.message import Message

from loom.broker.confirms import Status
from loom.broker.publisher import Publisher
from loom.domain.identity import new_message_id
from loom.domain.presence import AgentWish
from loom.errors import Unavailable, UnreadableMessage
from loom.messaging import deadletter
from loom.messaging.envelope import Envelope
from loom.messaging.task import Task
from loom.messaging.topology import task_key
from loom.settings import BrokerSettings
from loom.telemetry import logs
from workers import gate, request
from workers.letting_go import Hints
from workers.presence import Presence, Snapshot

CONFIRM_S = 3.0
"""How long the worker's loop may wait for a connection, and for the confirm of a dead letter."""
IDLE_S = 5.0
"""How long the connection for dead letters is kept: a pool process forked later inherits it."""
ROOM_EVERY_S = 0.5
"""How often is looked whether a pool process that works on a message let go has ended."""

log = logs.get(__name__)
_log_of_kombu = logging.getLogger(__name__)


class BeadConsumer(Consumer):  # type: ignore[misc]
    """Consumes a project's tasks."""

    class Blueprint(Consumer.Blueprint):  # type: ignore[misc]
        """Celery's steps, without the exchanges and queues for tasks with an ETA.

        DelayedDelivery would declare dozens of them as soon as it sees a quorum queue, and an
        agent's user may declare none. Waiting is the ledger's business.
        """

        default_steps: ClassVar[list[str]] = [
            step
            for step in Consumer.Blueprint.default_steps
            if not step.endswith(":DelayedDelivery")
        ]

    def __init__(
        self, *args: Any, project_id: str, broker: BrokerSettings, hints: Hints,
        presence: Presence, wish: AgentWish, **options: Any,
    ) -> None:  # fmt: skip
        """broker: how dead letters are published. hints: of messages that may be let go.

        presence: who is told what this agent does. wish: what people wanted of it at its start.
        """
        self._project_id = project_id
        self.queue = task_key(project_id)
        self._hints = hints
        self._presence = presence
        self._wish = wish
        self._asked = 0
        self._asks: tuple[int, AgentWish] | None = None
        self._idle_looks = 0
        self._let_go: weakref.WeakSet[request.BeadRequest] = weakref.WeakSet()
        self._room = 0
        quick = broker.model_copy(update={"timeout_s": CONFIRM_S})
        self._dead = Publisher(quick, f"agent-{project_id} (dead letters)")
        self._closing: Any = None
        super().__init__(*args, **options)

    def create_task_handler(self, **options: Any) -> Callable[[Message], None]:
        """What is called with every message of the task queue."""
        hand_on = super().create_task_handler(**options)

        def on_task_received(message: Message) -> None:
            try:
                task = gate.admit(message, self._project_id)
            except UnreadableMessage as fault:
                self._bury(message, fault.data["reason"], fault.detail)
                return
            if task.message.type == "task.cancelled":
                # The ledger has closed the bead already; an attempt under way loses its lease.
                log.info(
                    "task_cancelled",
                    bead_id=task.message.bead_id,
                    correlation_id=task.message.correlation_id,
                )
                self._ack(message)
                return
            if self._is_running(task, message):
                return
            if self._wish is AgentWish.WORK:
                hand_on(message)
            else:
                # It came before the consumer was cancelled: another agent may have it.
                message.requeue()  # type: ignore[no-untyped-call]

        self._room = self.initial_prefetch_count
        return on_task_received

    def on_ready(self) -> None:
        """Consumes, after a connection was made."""
        super().on_ready()
        self._make_room()

    def register_with_event_loop(self, hub: Any) -> None:
        """Listen to the pool processes too."""
        super().register_with_event_loop(hub)
        hub.add_reader(self._hints.descriptor, self._on_hint)
        hub.call_repeatedly(ROOM_EVERY_S, self._attend)

    def ask(self, wish: AgentWish) -> None:
        """Somebody wants this of the agent, by `celery control`; the ledger keeps it."""
        self._asked += 1
        self._asks = (self._asked, wish)
        self._obey(wish)

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Kombu could not take the message in; Celery would acknowledge it."""
        consumer = self.task_consumer
        if consumer is None or message.channel is not consumer.channel:
            log.warning("control_message_unreadable", why=str(exc))
            return
        self._bury(message, "wrong_type", f"the body cannot be taken in: {exc}")

    def on_invalid_task(self, body: object, message: Message, exc: Exception) -> None:
        """Celery refuses the message; it would reject it without a reason."""
        self._bury(message, "malformed", f"Celery cannot take it: {exc}")

    def shutdown(self) -> None:
        """Stop for good."""
        self._dead.close()
        super().shutdown()

    def _update_prefetch_count(self, index: int = 0) -> None:
        """The pool has grown or shrunk by index processes (`celery control pool_grow`).

        A prefetch limit counts for consumers that begin after it, so this begins again.
        """
        super()._update_prefetch_count(index)
        if self.task_consumer is not None:
            self._make_room()

    def _is_running(self, task: Task, message: Message) -> bool:
        """Whether the message is one that a pool process works on, delivered again.

        It came again because its connection broke; the work did not. So the new delivery is what
        the end of the work acknowledges. Handed on, it would wait for the process to be free.
        """
        running = request.running(task.message.bead_id)
        if running is None or running.request_dict.get("epoch") != task.epoch:
            return False
        if running in self._let_go:
            self._ack(message)
        elif not running.acknowledged:
            running.rebind(message, self.call_soon)
        else:
            # It was put back, and its process is about to end.
            return False
        log.info("running_bead_delivered_again", bead_id=running.id, epoch=task.epoch)
        return True

    def _attend(self) -> None:
        """Tell what this agent does, hear what people want of it, and see to it."""
        self._check_consumer()
        running = tuple(
            (held.id, int(held.request_dict.get("epoch") or 0))
            for held in list(state.active_requests)
            if isinstance(held, request.BeadRequest)
        )
        told = Snapshot(
            concurrency=self.pool.num_processes,
            running=tuple(sorted(running)),
            consuming=self._wish is AgentWish.WORK,
            asks=self._asks,
        )
        for answer in self._presence.exchange(told):
            if self._asks is not None and answer.asked < self._asks[0]:
                # The ledger has not heard yet what was asked here.
                continue
            self._asks = None
            if answer.wish is not None:
                self._obey(answer.wish)
        self._make_room()
        idle = not state.reserved_requests and not state.active_requests
        self._idle_looks = self._idle_looks + 1 if idle else 0
        # At the second look the last acknowledgement is on its way.
        if self._wish is AgentWish.STOP and self._idle_looks > 1 and state.should_stop is None:
            log.info("stopping_as_asked")
            state.should_stop = EX_OK

    def _check_consumer(self) -> None:
        """Raise what Celery connects again for if the broker has ended the consumer.

        It does so where the queue was deleted. In the first moment after it has connected Celery
        overlooks that (celery.worker.loops._quick_drain), and would wait for messages for ever.
        """
        consumer = self.task_consumer
        if consumer is None or consumer.channel is None:
            return
        for tag in consumer._active_tags.values():
            if tag not in consumer.channel.callbacks:
                raise ConsumerCancelled(tag, spec.Basic.Cancel)

    def _obey(self, wish: AgentWish) -> None:
        if wish is self._wish:
            return
        log.info("wish_heard", wish=wish.value, running=len(state.active_requests))
        self._wish = wish
        self._idle_looks = 0
        self._make_room()

    def _on_hint(self) -> None:
        """Acknowledge what pool processes hold by a lease alone, however long it takes yet.

        An unacknowledged message keeps the broker from cutting its log, runs into its
        consumer_timeout, and is lost to this agent with the connection.
        """
        for pid, bead_id in self._hints.read():
            running = request.running(bead_id)
            if running is None or running.worker_pid != pid or running.acknowledged:
                continue
            self._let_go.add(running)
            # First the room, as the broker fills what an acknowledgement frees.
            self._make_room()
            running.acknowledge()
            self.call_soon(log.info, "message_let_go", bead_id=bead_id)

    def _make_room(self) -> None:
        """Take as many messages as there are processes without a bead that was let go.

        None while the agent drains: what was taken stays with it, unacknowledged, to its end.
        """
        if self.task_consumer is None or self.qos is None:
            return
        busy = sum(1 for held in self._let_go if held in state.active_requests)
        room = max(0, self.pool.num_processes - busy)
        if self._wish is not AgentWish.WORK:
            room = 0
        if room == self._room:
            return
        # A prefetch limit counts for consumers that begin after it.
        if self._room:
            self.task_consumer.cancel()
        self._room = room
        if room:
            self.qos.value = room
            self.qos.update()
            self.task_consumer.consume()

    def _bury(self, message: Message, reason: str, detail: str) -> None:
        """Dead-letter the message with its reason; it is acknowledged once that is confirmed.

        Where it cannot be published, the queue's own dead-lettering takes it, without the reason.
        """
        delivery = gate.delivery(message, self._project_id)
        letter = deadletter.to_envelope(delivery, reason, detail, new_message_id())
        with logs.bound(correlation_id=delivery.correlation_id, message_id=letter.message_id):
            try:
                [published] = self._dead.publish([letter], CONFIRM_S)
                if published.status is Status.UNWRITABLE:
                    # AMQP as pika writes it does not take the message's own headers back.
                    [published] = self._dead.publish([_with_our_headers(letter)], CONFIRM_S)
            except Unavailable as error:
                confirmed, why = False, error.detail
            else:
                confirmed, why = published.confirmed, published.reason
            self._close_when_idle()
            if confirmed:
                log.warning("message_dead_lettered", reason=reason, detail=detail)
                self._ack(message)
            else:
                log.error("message_rejected", reason=reason, detail=detail, why=why)
                message.reject_log_error(  # type: ignore[no-untyped-call]
                    _log_of_kombu, self.connection_errors
                )

    def _ack(self, message: Message) -> None:
        message.ack_log_error(  # type: ignore[no-untyped-call]
            _log_of_kombu, self.connection_errors
        )

    def _close_when_idle(self) -> None:
        if self._closing is not None:
            self.timer.cancel(self._closing)
        self._closing = self.timer.call_after(IDLE_S, self._dead.close)


def _with_our_headers(letter: Envelope) -> Envelope:
    ours = (deadletter.REASON, deadletter.DETAIL, deadletter.QUEUE)
    return replace(letter, headers={key: letter.headers[key] for key in ours})
