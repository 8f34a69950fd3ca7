"""One queue's way into the ledger: declared, consumed, and consumed again after any trouble."""

from __future__ import annotations

import threading
from collections.abc import Callable

from loom.broker.consumer import Consumer, Taken
from loom.errors import NotFound
from loom.telemetry import logs, process

BATCH = 200
WAIT_S = 0.03
"""How long a batch may wait for more after its first delivery. Recording one costs the ledger as
much as ten results in it do, and nobody works on while a result is on its way."""
PREFETCH = 300
"""More than a batch, so that the next one arrives while one is recorded."""

log = logs.get(__name__)


def consume(
    consumer: Consumer,
    declare: Callable[[], object],
    handle: Callable[[Taken, threading.Event], None],
    stopping: threading.Event,
) -> None:
    """Hand every batch of the queue to handle, until stopping is set; what is unacked goes back."""
    try:
        while not stopping.is_set():
            process.wait_for("the broker", declare, stopping)
            try:
                for taken in consumer.batches(BATCH, WAIT_S, stopping):
                    handle(taken, stopping)
            except NotFound as error:
                log.error("queue_gone", why=error.detail, **error.data)
    except process.Stopped:
        pass
    finally:
        consumer.close()
