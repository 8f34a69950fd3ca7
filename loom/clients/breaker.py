"""A circuit breaker before a service: while it is away, callers are told at once, not by time-out.

pybreaker keeps the count and the state. It holds a lock over the calls that it guards, which would
let one caller through at a time, so here it only gets to know how they ended; and one caller alone
tries whether the service is back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, TypeVar

import pybreaker

from loom.errors import DeadlineExceeded, LoomError, Unavailable
from loom.telemetry import logs

FAILURES = 5
"""How many calls in a row have to fail before the breaker opens."""
OPEN_S = 1.0
"""How long it stays open before one call tries again, by the monotonic clock."""
NEVER_S = 10**6
"""pybreaker's own timer goes by the wall clock, which may be set back: it gets no say."""

T = TypeVar("T")

log = logs.get(__name__)


class Breaker:
    """Guards the calls of one client; any thread may use it."""

    def __init__(self, service: str, failures: int = FAILURES, open_s: float = OPEN_S) -> None:
        """service: in words, for errors and the log."""
        self._service, self._open_s = service, open_s
        self._trying = threading.Lock()
        self._tries_at = 0.0
        self._last = ""
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=failures,
            reset_timeout=NEVER_S,
            exclude=[lambda error: not isinstance(error, Unavailable | DeadlineExceeded)],
            listeners=[_Teller(service, self._opened, self._failed)],
            name=service,
            throw_new_error_on_trip=False,
        )

    @property
    def state(self) -> str:
        """`closed`: calls go through; `open`: none does; `half-open`: one tries."""
        return str(self._breaker.current_state)

    def call(self, call: Callable[[], T]) -> T:
        """What the call returns or raises; Unavailable at once while the breaker is open.

        That it is away, or slow, is what call says by Unavailable and DeadlineExceeded; any other
        error is an answer.
        """
        if self._breaker.current_state != pybreaker.STATE_CLOSED:
            return self._try(call)
        try:
            result = call()
        except LoomError as error:
            self._note(error)
            raise
        self._note(None)
        return result

    def _try(self, call: Callable[[], T]) -> T:
        if not self._trying.acquire(blocking=False):
            self._refuse()
        try:
            if self._breaker.current_state == pybreaker.STATE_OPEN:
                if time.monotonic() < self._tries_at:
                    self._refuse()
                self._breaker.half_open()
            return self._breaker.call(call)
        finally:
            self._trying.release()

    def _failed(self, error: BaseException) -> None:
        self._last = str(error)

    def _opened(self) -> None:
        self._tries_at = time.monotonic() + self._open_s

    def _note(self, error: LoomError | None) -> None:
        """Let the breaker count one call. It may have opened meanwhile, and counts nothing then."""

        def ended() -> None:
            if error is not None:
                raise error

        if self._breaker.current_state == pybreaker.STATE_CLOSED:
            with suppress(LoomError, pybreaker.CircuitBreakerError):
                self._breaker.call(ended)

    def _refuse(self) -> NoReturn:
        raise Unavailable(
            f"{self._service} is left alone for a moment, as it failed several times in a row, "
            f"the last: {self._last}. Try again in a second",
            service=self._service,
            breaker="open",
        )


class _Teller(pybreaker.CircuitBreakerListener):
    """Logs what becomes of a breaker."""

    def __init__(
        self, service: str, opened: Callable[[], None], failed: Callable[[BaseException], None]
    ) -> None:
        self._service, self._opened, self._failed = service, opened, failed

    def failure(self, cb: pybreaker.CircuitBreaker, exc: BaseException) -> None:
        """Keep what went wrong, for those who are refused."""
        self._failed(exc)

    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,
        old_state: pybreaker.CircuitBreakerState | None,
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        """Say so, and note when it opened."""
        if new_state.name == pybreaker.STATE_OPEN:
            self._opened()
        log.warning(
            "circuit_breaker_moved",
            service=self._service,
            before=old_state.name if old_state else None,
            state=new_state.name,
        )
