"""The lease of one attempt: renewed while it works, and the end of the work when it is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from loom.errors import Disposition, LoomError
from loom.telemetry import logs

RETRY_S = 0.5
"""Between two tries of a renewal that got no answer."""
LONGEST_PAUSE_S = 2.0
"""Between two renewals: a bead that was cancelled or taken over is let go within this time and the
time of one answer."""

TOO_LATE = "it could not be renewed before its end"

log = logs.get(__name__)


class LeaseLost(Exception):
    """The attempt is no longer the bead's: nothing more may be done for it, nor reported."""


class Lease:
    """Renews a lease every third of its time, or 2 s, from a thread of its own.

    It is lost when the ledger says so, or when no renewal came through until shortly before its
    end; then on_lost is called, once. The end is reckoned from before the request, by this
    machine's monotonic clock, so that it is never later than the ledger's.
    """

    def __init__(
        self,
        renew: Callable[[], float],
        lease_s: float,
        asked_at: float,
        on_lost: Callable[[], None],
    ) -> None:
        """renew: asks the ledger; gives seconds. asked_at: time.monotonic() before the claim."""
        self._renew = renew
        self._on_lost = on_lost
        self._lock = threading.Lock()
        self._lost = threading.Event()
        self._done = threading.Event()
        self._why = ""
        self._over = False
        self._pause_s = LONGEST_PAUSE_S
        self._extend(asked_at, lease_s)
        self._threads = [
            threading.Thread(target=loop, name=f"lease-{loop.__name__}", daemon=True)
            for loop in (self._keep_renewing, self._watch_the_end)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()

    @property
    def lost(self) -> bool:
        """The attempt may do nothing more."""
        return self._lost.is_set()

    @property
    def over(self) -> bool:
        """The ledger said so: the bead is somebody else's, or nobody's any more."""
        return self._over

    def check(self) -> None:
        """Raise LeaseLost if it is lost, also where no thread has come to notice it yet.

        A process that was stopped and goes on is ahead of its threads.
        """
        if time.monotonic() >= self._end:
            self._lose(TOO_LATE)
        if self.lost:
            raise LeaseLost(self._why)

    def fence(self) -> None:
        """Have the ledger say now that the bead is still this attempt's; raises LeaseLost.

        While the ledger is away it is asked again, until the lease ends: only an answer proves
        that nobody else had got the bead by then.
        """
        self.check()
        while not self._renew_once():
            self.pause(RETRY_S)
        self.check()

    def pause(self, seconds: float) -> None:
        """Wait; raises LeaseLost as soon as it is lost."""
        self._lost.wait(seconds)
        self.check()

    def _keep_renewing(self) -> None:
        while not self._done.wait(self._pause_s) and not self.lost:
            self._renew_once()

    def _watch_the_end(self) -> None:
        while not self._done.wait(max(0.0, self._end - time.monotonic())) and not self.lost:
            if time.monotonic() >= self._end:
                self._lose(TOO_LATE)

    def _renew_once(self) -> bool:
        """Ask the ledger once; True when it renewed the lease. It may be lost afterwards."""
        asked_at = time.monotonic()
        try:
            lease_s = self._renew()
        except LoomError as error:
            if error.meaning.disposition is not Disposition.RETRY:
                self._over = True
                self._lose(f"the ledger says: {error.detail}")
            else:
                log.warning("lease_not_renewed", why=error.detail)
                self._pause_s = min(self._pause_s, RETRY_S)
            return False
        self._extend(asked_at, lease_s)
        return True

    def _extend(self, asked_at: float, lease_s: float) -> None:
        # What is left at the end is for killing the command, whose last write must not come after
        # another agent's first.
        self._end = asked_at + lease_s - min(2.0, lease_s / 5)
        self._pause_s = min(lease_s / 3, LONGEST_PAUSE_S)

    def _lose(self, why: str) -> None:
        with self._lock:
            if self._done.is_set() or self.lost:
                return
            self._why = why
            self._lost.set()
        log.warning("lease_lost", why=why)
        self._on_lost()
