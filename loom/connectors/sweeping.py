"""Removes artifacts that nobody has sent for long, and what killed processes left half received."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from loom.connectors.receiving import Reception
from loom.connectors.store import Held, Store
from loom.errors import LoomError
from loom.telemetry import logs

BATCH = 500

log = logs.get(__name__)


def sweep(store: Store, keep_days: float, now: datetime) -> int:
    """Remove what was kept longer ago than keep_days (0: nothing); how many artifacts went."""
    if not keep_days:
        return 0
    oldest, removed = now - timedelta(days=keep_days), 0
    batch: list[Held] = []
    for held in store.list():
        if held.kept_at < oldest:
            batch.append(held)
        if len(batch) == BATCH:
            removed += store.remove(batch)
            batch = []
    return removed + store.remove(batch)


def keep_swept(
    store: Store, reception: Reception, keep_days: float, every_s: float, stopping: threading.Event
) -> None:
    """Sweep now, and again every so many seconds until stopping is set; a failure is only told."""
    while not stopping.is_set():
        try:
            left = reception.clear()
            removed = sweep(store, keep_days, datetime.now(UTC))
            if removed or left:
                log.info("artifacts_swept", removed=removed, left_over=left, keep_days=keep_days)
        except (LoomError, OSError) as error:
            log.warning("sweep_failed", why=str(error))
        stopping.wait(every_s)
