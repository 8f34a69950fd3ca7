"""Publisher confirms, counted by delivery tag: which message of a batch the broker has taken."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from loom.messaging.envelope import Envelope
from loom.telemetry.failpoints import unguarded


class Status(StrEnum):
    """What is known of a message after its publication."""

    CONFIRMED = "confirmed"
    """Every queue it belongs in has it, durably."""
    RETURNED = "returned"
    """It was mandatory, and no queue takes it."""
    NACKED = "nacked"
    """The broker refused it."""
    UNCONFIRMED = "unconfirmed"
    """Nobody knows: it may be in its queues or not, so publishing it again may double it."""
    UNWRITABLE = "unwritable"
    """It cannot be put into AMQP at all; it was not sent, and trying again is of no use."""


@dataclass(frozen=True, slots=True)
class Published:
    """The outcome of one envelope. reason: set unless it is confirmed."""

    status: Status
    reason: str = ""

    @property
    def confirmed(self) -> bool:
        """The broker has it."""
        return self.status is Status.CONFIRMED


_CONFIRMED = Published(Status.CONFIRMED)
_NACKED = Published(Status.NACKED, "the broker refused the message (basic.nack)")


class Batch:
    """The outcomes of one batch on one channel in confirm mode.

    The connection's thread counts; the publishing thread waits, and finishes. Tags rise by one
    for each message sent, and `multiple` covers every tag up to the one named. Source:
    rabbitmq.com/docs/confirms.
    """

    def __init__(self, envelopes: Sequence[Envelope], first_tag: int) -> None:
        self.envelopes = envelopes
        self._first_tag = first_tag
        self._indexes: list[int] = []  # of the messages sent, in the order of their tags
        self._low = 0  # every message sent before this one is decided
        self._outcomes: list[Published | None] = [None] * len(envelopes)
        self._returns: dict[int, str] = {}
        self._undecided = len(envelopes)
        self._lock = threading.Lock()
        self._done = threading.Event()

    def wait(self, timeout_s: float) -> bool:
        """Wait until every outcome is known; False when that takes too long."""
        return self._done.wait(timeout_s)

    @property
    def done(self) -> bool:
        """Every outcome is known, or the batch was given up."""
        return self._done.is_set()

    @property
    def was_returned(self) -> bool:
        """The broker returned some message of it."""
        return bool(self._returns)

    def sent(self, index: int) -> None:
        """The envelope got the next tag."""
        self._indexes.append(index)

    def unwritable(self, index: int, reason: str) -> None:
        """The envelope could not be written, and has no tag."""
        with self._lock:
            self._decide(index, Published(Status.UNWRITABLE, reason))

    def returned(self, message_id: str, routing_key: str, reason: str) -> bool:
        """The broker sent a message back; its ack follows. False: the batch has no such message."""
        with self._lock:
            for index, envelope in enumerate(self.envelopes):
                if (
                    index not in self._returns
                    and envelope.message_id == message_id
                    and envelope.routing_key == routing_key
                ):
                    self._returns[index] = reason
                    return True
        return False

    def answered(self, tag: int, multiple: bool, *, acked: bool) -> None:
        """The broker acked or nacked a tag, or every tag up to it."""
        last = tag - self._first_tag
        with self._lock:
            if not 0 <= last < len(self._indexes):
                return  # of an earlier batch, which was given up
            if unguarded("tag_counting"):
                last = len(self._indexes) - 1
                multiple, acked = True, True
            for position in range(self._low if multiple else last, last + 1):
                index = self._indexes[position]
                self._decide(index, self._answer(index, acked))
            while self._low < len(self._indexes) and self._outcomes[self._indexes[self._low]]:
                self._low += 1

    def give_up(self, reason: str) -> None:
        """What is not known by now is unconfirmed."""
        with self._lock:
            for index, outcome in enumerate(self._outcomes):
                if outcome is not None:
                    continue
                if index in self._returns:
                    self._decide(index, Published(Status.RETURNED, self._returns[index]))
                else:
                    self._decide(index, Published(Status.UNCONFIRMED, reason))
            self._done.set()

    def outcomes(self) -> list[Published]:
        """One outcome for each envelope, in their order; only once the batch is done."""
        return [outcome for outcome in self._outcomes if outcome is not None]

    def _answer(self, index: int, acked: bool) -> Published:
        if index in self._returns:
            return Published(Status.RETURNED, self._returns[index])
        return _CONFIRMED if acked else _NACKED

    def _decide(self, index: int, outcome: Published) -> None:
        if self._outcomes[index] is None:
            self._outcomes[index] = outcome
            self._undecided -= 1
            if not self._undecided:
                self._done.set()
