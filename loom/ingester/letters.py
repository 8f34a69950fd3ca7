"""Dead letters on their way into the ledger."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from loom.errors import LoomError
from loom.ingester.recording import CALL_BYTES, portions, record
from loom.ingester.results import Taken
from loom.messaging import deadletter
from loom.messaging.deadletter import DeadLetter
from loom.telemetry import logs
from loom.telemetry.failpoints import failpoint

log = logs.get(__name__)


class Ledger(Protocol):
    """The call of the database service that dead letters need."""

    def record_dead_letters(self, letters: Sequence[DeadLetter]) -> tuple[int, int]: ...


class Letters:
    """Records batches of dead letters and acknowledges them.

    The operator's copy stays in the queue that the message died for, whatever becomes of this.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def handle(self, taken: Taken, stopping: threading.Event) -> None:
        """Deal with every delivery; raises Stopped when it is time to stop before that."""
        letters = [deadletter.read(delivery) for delivery in taken.deliveries]
        for portion in portions(letters, lambda letter: len(letter.body), CALL_BYTES):
            for letter, error in record(portion, self._record, stopping):
                self._record_bare(letter, error, stopping)
        failpoint("ingester.buried")
        taken.ack(taken.deliveries)

    def _record(self, letters: Sequence[DeadLetter]) -> None:
        recorded, blocked = self._ledger.record_dead_letters(letters)
        log.info("dead_letters_recorded", letters=len(letters), new=recorded, blocked=blocked)
        for letter in letters:
            log.warning(
                "dead_letter",
                queue=letter.queue,
                reason=letter.reason,
                why=letter.detail,
                correlation_id=letter.correlation_id,
                bead_id=letter.bead_id,
                project_id=letter.project_id,
                message_id=letter.message_id,
            )

    def _record_bare(self, letter: DeadLetter, error: LoomError, stopping: threading.Event) -> None:
        """Record that there was such a letter, without what the ledger may have choked on."""
        bare = replace(
            letter,
            detail=f"the ledger did not take the letter itself: {error.detail}"[:1000],
            correlation_id="",
            headers="{}",
            deaths="[]",
            body=b"",
            cut=True,
        )
        for _, again in record([bare], self._record, stopping):
            log.error(
                "dead_letter_not_recorded",
                queue=letter.queue,
                message_id=letter.message_id,
                reason=letter.reason,
                why=again.detail,
            )
