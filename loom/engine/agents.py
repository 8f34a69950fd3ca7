"""Agents that say nothing any more: told of once they are lost, forgotten long after."""

from __future__ import annotations

from typing import Protocol

from loom.telemetry import logs

EVERY_S = 10.0

log = logs.get(__name__)


class Ledger(Protocol):
    """The call of the database service that this needs."""

    def forget_agents(self) -> int: ...


def forget(ledger: Ledger) -> bool:
    """Forget them, by the database's clock; there is never more at once."""
    forgotten = ledger.forget_agents()
    if forgotten:
        log.info("agents_forgotten", agents=forgotten)
    return False
