"""What every service process does first: logs, traces, and a clean way to stop."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable
from typing import TypeVar

from loom.errors import DeadlineExceeded, LoomError, Unavailable
from loom.settings import DrillSettings, ServiceSettings, load
from loom.telemetry import failpoints, logs, traces

T = TypeVar("T")

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 2.0

log = logs.get(__name__)


def start(service: str, settings: ServiceSettings) -> threading.Event:
    """Set up logs and traces; the event returned is set by SIGTERM or SIGINT: stop then.

    Call it once, from the main thread.
    """
    logs.configure(service, settings.instance, settings.log_level)
    failpoints.arm(load(DrillSettings))
    traces.configure(service, settings.instance, settings.otlp_endpoint)
    return stop_event()


def stop_event() -> threading.Event:
    """An event that SIGTERM or SIGINT sets; `start` calls it, and so does a process that forks,
    whose traces are configured after the fork. Call it from the main thread.
    """
    stopping = threading.Event()

    def stop(number: int, _frame: object) -> None:
        log.info("stop_asked", signal=signal.Signals(number).name)
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopping


class Stopped(Exception):
    """The process was asked to stop while it waited."""


def wait_for(what: str, attempt: Callable[[], T], stopping: threading.Event) -> T:
    """Call attempt until it raises no more that a part is away or slow, with backoff and jitter.

    Each failure logs `waiting` with `waiting_for`, which `loom status` shows. Any other error
    goes through. Raises Stopped when the process is asked to stop meanwhile.
    """
    wait = FIRST_WAIT_S
    waited = False
    while not stopping.is_set():
        try:
            result = attempt()
        except (Unavailable, DeadlineExceeded) as error:
            log.warning("waiting", waiting_for=what, why=error.detail, again_in_s=round(wait, 2))
            waited = True
            stopping.wait(wait * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
            wait = min(LONGEST_WAIT_S, wait * 2)
        else:
            if waited:
                log.info("waited", waited_for=what)
            return result
    raise Stopped(what)


def explain(error: LoomError) -> str:
    """One line for a person: the code and the detail."""
    return f"{error.code}: {error.detail}"
