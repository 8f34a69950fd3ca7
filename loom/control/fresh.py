"""An answer that many ask for at once, and that is fetched again only when it has become old."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Fresh(Generic[T]):
    """What `fetch` gave, for `keep_s` seconds. Safe for threads; one of them fetches."""

    def __init__(
        self, keep_s: float, fetch: Callable[[], T], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keep_s, self._fetch, self._clock = keep_s, fetch, clock
        self._lock = threading.Lock()
        self._kept: tuple[float, T] | None = None

    def get(self) -> T:
        """The answer, at most keep_s old. Raises what fetch raises, and keeps no failure."""
        kept = self._kept
        if kept is not None and self._clock() < kept[0]:
            return kept[1]
        with self._lock:
            kept = self._kept
            if kept is None or self._clock() >= kept[0]:
                found = self._fetch()
                kept = self._kept = (self._clock() + self._keep_s, found)
            return kept[1]

    def renew(self) -> T:
        """The answer as it is now; others get it too from here on."""
        found = self._fetch()
        self._kept = (self._clock() + self._keep_s, found)
        return found
