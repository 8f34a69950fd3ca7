"""Sweeps from the broker the copies of dead letters that are dealt with in the ledger."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Sequence
from functools import partial
from typing import Protocol

from loom.clients.steering import Sweepable
from loom.errors import LoomError
from loom.messaging import deadletter
from loom.messaging.envelope import Delivery
from loom.telemetry import logs, process

EVERY_S = 5.0

log = logs.get(__name__)

Take = Callable[[str, Callable[[Delivery], bool]], list[Delivery]]


class Ledger(Protocol):
    """The calls of the database service that the sweeper makes."""

    def list_sweepable(self, limit: int = 500) -> tuple[Sweepable, ...]: ...

    def settle_swept(self, gone: Sequence[int], missing: Sequence[int]) -> None: ...


class Sweeper:
    """Removes the copies that stand for the operator in the queues of dead letters.

    take removes messages from a queue; it raises Unavailable when the broker is away. A copy that
    another sweeper holds just now counts as missing, and is looked for again.
    """

    def __init__(self, ledger: Ledger, take: Take) -> None:
        self._ledger, self._take = ledger, take

    def run(self, stopping: threading.Event) -> None:
        """Sweep until stopping is set; a failure is logged, and the next turn comes as always."""
        while not stopping.wait(EVERY_S):
            try:
                self.turn()
            except LoomError as error:
                log.warning("waiting", waiting_for="sweeping", why=process.explain(error))
            except Exception:
                log.exception("sweep_failed")

    def turn(self) -> int:
        """Sweep what is dealt with; how many copies are gone."""
        by_queue: dict[str, dict[tuple[str, str], int]] = {}
        for letter in self._ledger.list_sweepable():
            queue = deadletter.dead_letter_key(letter.queue)
            by_queue.setdefault(queue, {})[letter.message_id, letter.queue] = letter.id
        swept = 0
        for queue, letters in by_queue.items():
            taken = self._take(queue, partial(_is_among, letters))
            gone = {letters[_key(delivery)] for delivery in taken}
            self._ledger.settle_swept(sorted(gone), sorted(set(letters.values()) - gone))
            swept += len(gone)
            if gone:
                log.info("dead_letters_swept", queue=queue, count=len(gone))
        return swept


def _is_among(letters: Container[tuple[str, str]], delivery: Delivery) -> bool:
    return _key(delivery) in letters


def _key(delivery: Delivery) -> tuple[str, str]:
    """By what the ledger tells letters apart: the message, and the queue that it died in."""
    read = deadletter.read(delivery)
    return read.message_id, read.queue
