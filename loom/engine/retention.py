"""Forgets what is old, some of it at a time."""

from __future__ import annotations

from dataclasses import asdict
from typing import Protocol

from loom.domain.retention import Ages, Forgotten
from loom.telemetry import logs

log = logs.get(__name__)


class Ledger(Protocol):
    """The call of the database service that this needs."""

    def forget_old(self, ages: Ages) -> Forgotten: ...


def forget(ledger: Ledger, ages: Ages) -> bool:
    """Forget some; True while there may be more."""
    gone = {kind: count for kind, count in asdict(ledger.forget_old(ages)).items() if count}
    if gone:
        log.info("old_forgotten", **gone)
    return bool(gone)
