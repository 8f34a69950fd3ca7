"""Replays of groups of dead letters, carried on at their rates."""

from __future__ import annotations

from typing import Protocol

from loom.telemetry import logs

log = logs.get(__name__)


class Ledger(Protocol):
    """The call of the database service that this needs."""

    def advance_replays(self, limit: int = 50) -> tuple[int, int, int]: ...


def advance(ledger: Ledger) -> bool:
    """Take the next step of each replay; False, as there is nothing to do before the next turn."""
    replayed, refused, ended = ledger.advance_replays()
    if replayed or refused or ended:
        log.info("replays_advanced", replayed=replayed, refused=refused, ended=ended)
    return False
