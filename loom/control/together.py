"""An answer that many want at the same moment, fetched once for all who ask before it is."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Answer(Generic[T]):
    """The newest answer to one question. begun: how many fetches have; number: of the one it is."""

    def __init__(self) -> None:
        self._fetching = threading.Lock()
        self._begun = 0
        self._newest: tuple[int, T] | None = None

    def get(self, fetch: Callable[[], T]) -> T:
        asked = self._begun
        with self._fetching:
            if self._newest is not None and self._newest[0] > asked:
                return self._newest[1]
            self._begun += 1
            found = fetch()
            self._newest = (self._begun, found)
            return found


class Together(Generic[T]):
    """Answers to the `most` questions that were asked last. Safe for threads.

    Nobody gets an answer that was begun before they asked: whoever comes while one is fetched waits
    for the next, which is fetched once for all who wait. However many ask, the ledger is asked by
    one at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, _Answer[T]] = OrderedDict()

    def get(self, question: Hashable, fetch: Callable[[], T]) -> T:
        """The answer. Raises what fetch raises, of which others hear nothing."""
        with self._lock:
            answer = self._answers.setdefault(question, _Answer())
            self._answers.move_to_end(question)
            while len(self._answers) > self._most:
                self._answers.popitem(last=False)
        return answer.get(fetch)
