"""Locks between processes of one user: files, held by flock(2), let go when the holder ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

LONGEST_PAUSE_S = 0.25


class Lock:
    """One file, locked by many who share it, or by one alone. It may be taken once at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def try_alone(self) -> bool:
        """Take it for this holder alone; False if somebody has it."""
        return self._try(fcntl.LOCK_EX)

    def alone(self, timeout_s: float, given_up: Callable[[], bool] = lambda: False) -> bool:
        """Take it for this holder alone; False when it took longer, or was given up."""
        return self._take(fcntl.LOCK_EX, timeout_s, given_up)

    def share(self, timeout_s: float, given_up: Callable[[], bool] = lambda: False) -> bool:
        """Take it beside others who share it; False when it took longer, or was given up."""
        return self._take(fcntl.LOCK_SH, timeout_s, given_up)

    def release(self) -> None:
        """Let it go, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def _take(self, how: int, timeout_s: float, given_up: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + timeout_s
        pause_s = 0.005
        while not self._try(how):
            if time.monotonic() + pause_s > deadline or given_up():
                return False
            # flock(2) waits without a limit, or not at all.
            time.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
        return True

    def _try(self, how: int) -> bool:
        # Python's descriptors are not inherited by commands, which would go on holding the lock.
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True
