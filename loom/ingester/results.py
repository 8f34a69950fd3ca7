"""Results on their way into the ledger."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from opentelemetry.trace import SpanKind

from loom.clients.database import Recorded
from loom.domain.outbox import ResultVerdict
from loom.errors import Internal, UnreadableMessage
from loom.ingester.burial import Refused, Undertaker
from loom.ingester.recording import CALL_BYTES, portions, record
from loom.messaging import result, sender
from loom.messaging.deadletter import BEAD, EPOCH, PROJECT
from loom.messaging.envelope import Delivery
from loom.messaging.result import ResultMessage
from loom.messaging.topology import RESULTS_QUEUE
from loom.telemetry import logs
from loom.telemetry.failpoints import failpoint
from loom.telemetry.traces import Detached

REFUSED = frozenset({ResultVerdict.UNKNOWN, ResultVerdict.UNPROVEN})
"""Verdicts after which the message is dead-lettered; with any other it has done its work."""

log = logs.get(__name__)


class Ledger(Protocol):
    """The call of the database service that results need."""

    def record_results(
        self, results: Sequence[tuple[ResultMessage, str]]
    ) -> tuple[Recorded, ...]: ...


class Taken(Protocol):
    """A batch of deliveries, as loom.broker.consumer gives them."""

    @property
    def deliveries(self) -> Sequence[Delivery]: ...

    def ack(self, deliveries: Sequence[Delivery]) -> None: ...


@dataclass(frozen=True, slots=True)
class Readable:
    """A delivery with the result in it, and the span of its handling."""

    delivery: Delivery
    message: ResultMessage
    hop: Detached


def sort(deliveries: Sequence[Delivery]) -> tuple[list[Readable], list[Refused]]:
    """The results that can be read, and the deliveries that cannot."""
    readable: list[Readable] = []
    refused: list[Refused] = []
    for delivery in deliveries:
        try:
            message = result.read(delivery.headers, delivery.body)
        except UnreadableMessage as error:
            reason = error.data.get("reason", error.code)
            refused.append(Refused(delivery, reason, error.detail, _said_of(delivery)))
            continue
        fault = sender.fault_of_result(delivery, message.project_id)
        if fault:
            refused.append(Refused(delivery, sender.FORGED, fault, _nobodys(delivery)))
        else:
            readable.append(Readable(delivery, message, _hop(delivery, message)))
    return readable, refused


def _said_of(delivery: Delivery) -> dict[str, str | int]:
    """What a result is about that cannot be read: its headers count for its sender's project."""
    project_id = sender.project_of_result(delivery)
    return {PROJECT: project_id} if project_id else _nobodys(delivery)


def _nobodys(delivery: Delivery) -> dict[str, str | int]:
    """What a result is about that is not to be believed: no bead, whatever its headers say."""
    return {BEAD: "", EPOCH: 0, PROJECT: sender.project_of_agent(delivery.user_id)}


class Results:
    """Records batches of results and acknowledges them, dead-lettering what is refused."""

    def __init__(self, ledger: Ledger, undertaker: Undertaker) -> None:
        self._ledger, self._undertaker = ledger, undertaker

    def handle(self, taken: Taken, stopping: threading.Event) -> None:
        """Deal with every delivery; raises Stopped when it is time to stop before that."""
        failpoint("ingester.taken")
        readable, refused = sort(taken.deliveries)
        for portion in portions(readable, lambda r: len(r.delivery.body), CALL_BYTES):

            def call(items: Sequence[Readable]) -> None:
                refused.extend(self._record(items, taken))

            for item, error in record(portion, call, stopping):
                item.hop.end(error.detail)
                refused.append(
                    Refused(item.delivery, error.code, error.detail, _about(item.message))
                )
        self._undertaker.bury(refused, stopping)
        taken.ack([r.delivery for r in refused])

    def _record(self, items: Sequence[Readable], taken: Taken) -> list[Refused]:
        """Record the items in one call and acknowledge what has done its work; the others."""
        recorded = self._ledger.record_results([(i.message, i.hop.traceparent) for i in items])
        if len(recorded) != len(items):
            raise Internal(f"the ledger answered {len(recorded)} verdicts to {len(items)} results")
        failpoint("ingester.recorded")
        for item, answer in zip(items, recorded, strict=True):
            _tell(item, answer)
        pairs = list(zip(items, recorded, strict=True))
        taken.ack([item.delivery for item, answer in pairs if answer.verdict not in REFUSED])
        return [
            Refused(item.delivery, answer.verdict.value, answer.detail, _about(item.message))
            for item, answer in pairs
            if answer.verdict in REFUSED
        ]


def _about(message: ResultMessage) -> dict[str, str | int]:
    """What leads from a dead result to the attempt whose it was."""
    return {BEAD: message.bead_id, EPOCH: message.epoch, PROJECT: message.project_id}


def _hop(delivery: Delivery, message: ResultMessage) -> Detached:
    traceparent = delivery.headers.get("traceparent")
    return Detached(
        f"process {RESULTS_QUEUE}",
        traceparent if isinstance(traceparent, str) else "",
        SpanKind.CONSUMER,
        **{
            "messaging.system": "rabbitmq",
            "messaging.destination.name": RESULTS_QUEUE,
            "messaging.message.id": message.message_id,
            "loom.bead_id": message.bead_id,
            "loom.correlation_id": message.correlation_id,
        },
    )


def _tell(item: Readable, answer: Recorded) -> None:
    message = item.message
    item.hop.end(answer.detail if answer.verdict in REFUSED else "")
    facts = {"trace_id": item.hop.trace_id} if item.hop.trace_id else {}
    log.info(
        "result_recorded",
        verdict=answer.verdict.value,
        type=message.type,
        correlation_id=message.correlation_id,
        bead_id=message.bead_id,
        project_id=message.project_id,
        epoch=message.epoch,
        agent_id=message.agent_id,
        **facts,
    )
