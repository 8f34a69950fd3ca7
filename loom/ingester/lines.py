"""Lines of running attempts on their way into the ledger; what cannot be kept is left out."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from loom.domain.log import LogChunk, LogVerdict
from loom.errors import UnreadableMessage
from loom.ingester.recording import CALL_BYTES, portions, record
from loom.ingester.results import Taken
from loom.messaging import log as message
from loom.messaging import sender
from loom.messaging.envelope import Delivery
from loom.telemetry import logs

log = logs.get(__name__)


class Ledger(Protocol):
    """The call of the database service that lines need."""

    def append_logs(self, chunks: Sequence[LogChunk]) -> tuple[LogVerdict, ...]: ...


class Lines:
    """Keeps batches of lines and acknowledges them.

    Nothing is dead-lettered: lines are a view of the work, and what is refused is counted.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def handle(self, taken: Taken, stopping: threading.Event) -> None:
        """Deal with every delivery; raises Stopped when it is time to stop before that."""
        chunks = [c for delivery in taken.deliveries if (c := _read(delivery)) is not None]
        for portion in portions(chunks, lambda chunk: chunk.size, CALL_BYTES):
            for chunk, error in record(portion, self._keep, stopping):
                log.warning(
                    "log_lines_refused",
                    bead_id=chunk.bead_id,
                    epoch=chunk.epoch,
                    seq=chunk.seq,
                    why=error.detail,
                )
        taken.ack(taken.deliveries)

    def _keep(self, chunks: Sequence[LogChunk]) -> None:
        verdicts = Counter(self._ledger.append_logs(chunks))
        refused = {v.value: n for v, n in verdicts.items() if v is not LogVerdict.KEPT}
        if refused:
            log.info("log_lines_not_kept", **refused)


def _read(delivery: Delivery) -> LogChunk | None:
    """The lines in a delivery; None, and a word in the log, if it has none of its sender's."""
    try:
        said = message.read(delivery.headers, delivery.body)
        why = sender.fault_of_log(delivery, said.project_id)
    except UnreadableMessage as error:
        why = error.detail
    if why:
        log.warning(
            "log_lines_unreadable",
            why=why,
            message_id=delivery.message_id,
            user_id=delivery.user_id,
        )
        return None
    return said.chunk()
