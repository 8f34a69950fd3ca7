"""Notices what no pure test does: opening a socket, starting a process, waiting for its time."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

IMPURE = {
    "socket.__new__": "opened a socket",
    "socket.bind": "bound a socket",
    "socket.connect": "connected a socket",
    "socket.getaddrinfo": "looked up the name of a host",
    "subprocess.Popen": "started a process",
    "os.exec": "started a program",
    "os.fork": "forked",
    "os.forkpty": "forked",
    "os.posix_spawn": "started a process",
    "os.system": "started a shell",
}
"""Events of Python's own audit (docs.python.org/3/library/audit_events.html), in words."""

WHERE = (
    "tests/unit holds pure tests alone: give it a fake, or a clock that the test moves on, or "
    "put the test into tests/component (tests/integration, if it needs a server)"
)


class ImpureError(RuntimeError):
    """What was done is none of a pure test's business."""


_seen: list[str] | None = None
"""What was done since the watch began; None while nobody watches."""


def _look(event: str, args: tuple[Any, ...]) -> None:
    if _seen is not None and event in IMPURE:
        _seen.append(f"{IMPURE[event]} ({event}: {', '.join(map(repr, args))})")
        raise ImpureError(f"it {_seen[-1]}; {WHERE}")


# There is no way to take an audit hook out again: it is put in once, and looks away at other times.
sys.addaudithook(_look)


@contextmanager
def watched() -> Iterator[list[str]]:
    """What is impure within the block: refused where it happens, and told here once more, since
    the code under test may have taken the refusal for an error of the system's.

    A wait counts if it is of this thread and ran out: how long threads wait for one another is
    not for a test to say. Blocks may be within one another; the inner one sees.
    """
    global _seen
    outer, seen = _seen, list[str]()
    sleep, wait, me = time.sleep, threading.Condition.wait, threading.get_ident()

    def no_sleep(seconds: float) -> None:
        seen.append(f"slept (time.sleep: {seconds})")
        raise ImpureError(f"it {seen[-1]}; {WHERE}")

    def no_vain_wait(self: threading.Condition, timeout: float | None = None) -> bool:
        came = wait(self, timeout)
        if not came and timeout is not None and timeout > 0 and threading.get_ident() == me:
            seen.append(f"waited until the time was over (threading: {timeout} s)")
        return came

    _seen, time.sleep, threading.Condition.wait = seen, no_sleep, no_vain_wait  # type: ignore[assignment,method-assign]
    try:
        yield seen
    finally:
        _seen, time.sleep, threading.Condition.wait = outer, sleep, wait  # type: ignore[method-assign]
