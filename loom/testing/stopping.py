"""Stopping events for tests of what waits: no time passes."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Unhurried(threading.Event):
    """An event that never waits: waits holds how long it should have, hook runs at each."""

    def __init__(self, hook: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.waits: list[float | None] = []
        self.hook = hook

    def wait(self, timeout: float | None = None) -> bool:
        """Return at once whether the event is set."""
        self.waits.append(timeout)
        self.hook()
        return self.is_set()
