"""Leases that ran out: their attempts are lost, and their beads are owed again or blocked."""

from __future__ import annotations

from typing import Protocol

from loom.telemetry import logs
from loom.telemetry.failpoints import failpoint

LIMIT = 500

log = logs.get(__name__)


class Ledger(Protocol):
    """The call of the database service that this needs."""

    def expire_leases(self, limit: int = LIMIT) -> tuple[int, int, int]: ...


def expire(ledger: Ledger) -> bool:
    """End what ran out by the database's clock; True when there may be more of it."""
    lost, retried, blocked = ledger.expire_leases(LIMIT)
    failpoint("engine.expired")
    if lost:
        log.warning("leases_expired", lost=lost, retried=retried, blocked=blocked)
    return lost >= LIMIT
