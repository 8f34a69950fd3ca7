"""Timers: each does its work again and again on a thread of its own, and fails alone."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loom.errors import LoomError
from loom.telemetry import logs, process

LONGEST_WAIT_S = 30.0

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Timer:
    """What is done every period_s seconds. work: True when there is more to do at once."""

    name: str
    period_s: float
    work: Callable[[], bool]


def pause_s(period_s: float, failures: int, jitter: float) -> float:
    """Seconds until the next turn, after so many failures in a row; 0 <= jitter < 1.

    Jittered also without failures, so that several engines do not ask at the same moments.
    """
    doubled = min(LONGEST_WAIT_S, period_s * 2.0 ** min(failures, 16))
    return max(period_s, doubled) * (0.75 + jitter / 2)


def keep(timer: Timer, stopping: threading.Event) -> None:
    """Run one timer until stopping is set; a failure is logged, and its next turn comes later."""
    failures = 0
    while not stopping.is_set():
        try:
            more = timer.work()
        except LoomError as error:
            failures += 1
            more = False
            log.warning(
                "waiting", waiting_for=timer.name, why=process.explain(error), failures=failures
            )
        except Exception:
            failures += 1
            more = False
            log.exception("timer_failed", timer=timer.name, failures=failures)
        else:
            if failures:
                log.info("waited", waited_for=timer.name)
            failures = 0
        if not more:
            jitter = random.random()  # noqa: S311 - jitter, not a secret
            stopping.wait(pause_s(timer.period_s, failures, jitter))


def keep_all(timers: Sequence[Timer], stopping: threading.Event) -> None:
    """Run every timer until stopping is set."""
    threads = [
        threading.Thread(target=keep, args=(timer, stopping), name=f"timer-{timer.name}")
        for timer in timers
    ]
    log.info("timers_started", timers=[timer.name for timer in timers])
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
