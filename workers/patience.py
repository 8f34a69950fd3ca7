"""How long an agent waits for its ledger and its broker before a task goes back to its queue."""

from __future__ import annotations

import time

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0


class LedgerAway(Exception):
    """A claim got no answer, or a result found no taker, in the time that a task may wait."""


class Patience:
    """Growing pauses within a limit of seconds."""

    def __init__(self, limit_s: float) -> None:
        self._give_up_at = time.monotonic() + limit_s
        self._pause_s = FIRST_PAUSE_S

    def next_pause(self, why: str) -> float:
        """How long to wait before the next try; raises LedgerAway with why at the limit."""
        pause_s = self._pause_s
        if time.monotonic() + pause_s >= self._give_up_at:
            raise LedgerAway(why)
        self._pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
        return pause_s
