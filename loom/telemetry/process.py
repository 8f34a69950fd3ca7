"""What every service process does first: logs, traces, and a clean way to stop."""

from __future__ import annotations

import gc
import random
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from loom.errors import DeadlineExceeded, LoomError, Unavailable
from loom.settings import DrillSettings, ServiceSettings, load
from loom.telemetry import failpoints, logs, traces

T = TypeVar("T")

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 2.0
_STOPS = (signal.SIGTERM, signal.SIGINT)

LOOKS_FOR_GARBAGE = (20_000, 20, 50)
"""After how many new objects, and how many looks at young ones before one at the older."""

log = logs.get(__name__)


def start(service: str, settings: ServiceSettings) -> threading.Event:
    """Set up logs and traces; the event returned is set by SIGTERM or SIGINT: stop then.

    Call it once, from the main thread.
    """
    logs.configure(service, settings.instance, settings.log_level)
    failpoints.arm(load(DrillSettings))
    traces.configure(service, settings.instance, settings.otlp_endpoint)
    keep_for_good()
    return _listen().stopping


def keep_for_good() -> None:
    """Have what is there by now never looked at again for garbage: modules, classes, models.

    Looking through all of it took a service a twentieth of its time under load; looking for new
    garbage as often as Python does by itself took another. Call it once all is imported, and
    before a fork, which then shares it.
    """
    gc.freeze()
    gc.set_threshold(*LOOKS_FOR_GARBAGE)


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM or SIGINT sets, within the block; for a process that forks after it.

    Call it from the main thread. After the block both end the process, as at its start.
    """
    listening = _listen()
    try:
        yield listening.stopping
    finally:
        listening.end()


@dataclass(frozen=True, slots=True)
class _Listening:
    """A thread that hears of signals by a pipe.

    A Python handler runs on the main thread, when that next comes to it: one that is about to
    wait may miss it for ever, and one that is inside of an event's lock could never set the event.
    What the interpreter writes to the pipe the moment a signal comes is subject to neither.
    """

    stopping: threading.Event
    written: socket.socket

    def end(self) -> None:
        signal.set_wakeup_fd(-1)
        for number in _STOPS:
            signal.signal(number, signal.SIG_DFL)
        self.written.shutdown(socket.SHUT_WR)


def _listen() -> _Listening:
    stopping = threading.Event()
    read, written = socket.socketpair()
    written.setblocking(False)
    signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
    for number in _STOPS:
        signal.signal(number, _leave_it_to_the_thread)
    threading.Thread(
        target=_tell, args=(read, written, stopping), name="stop-signals", daemon=True
    ).start()
    return _Listening(stopping, written)


def _leave_it_to_the_thread(_number: int, _frame: object) -> None:
    """The interpreter writes to the pipe only of signals that have a handler."""


def _tell(read: socket.socket, written: socket.socket, stopping: threading.Event) -> None:
    with read, written:  # held here, as the interpreter knows only the number of its descriptor
        while numbers := read.recv(64):
            for number in numbers:
                if number in _STOPS:
                    log.info("stop_asked", signal=signal.Signals(number).name)
                    stopping.set()


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
