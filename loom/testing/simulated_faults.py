"""What may go wrong in a simulation, and the guards that can be taken away from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Faults:
    """How likely each fault is at each chance for it."""

    crash: float = 0.04
    pause: float = 0.05
    lose: float = 0.02
    duplicate: float = 0.04
    cut: float = 0.03
    away: float = 0.02


@dataclass(frozen=True, slots=True)
class Guards:
    """What keeps faults from doing harm; each can be taken away, to see that its lack is noticed.

    fence: a result of an older epoch changes nothing. inbox: a message is applied once.
    redelivery: only a message that was delivered before takes a bead over. branch: a branch is made
    and never moved. reconciler: what the broker lost is owed again.
    """

    fence: bool = True
    inbox: bool = True
    redelivery: bool = True
    branch: bool = True
    reconciler: bool = True


class Crash(BaseException):
    """A simulated process ends here; nothing in it gets to clean up."""


class Seam:
    """The part of a process that others see: each call through it may be its last."""

    def __init__(self, target: Any, crash: Callable[[str], None]) -> None:
        self._target, self._crash = target, crash

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._target, name)

        def through(*given: Any, **named: Any) -> Any:
            self._crash(f"before {name}")
            answer = call(*given, **named)
            self._crash(f"after {name}")
            return answer

        return through
