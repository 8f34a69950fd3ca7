"""How a test waits for what nobody tells it: it looks again, and leaves the processor to others."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_EVERY_S = 0.05


def until(look: Callable[[], T | None]) -> T:
    """What look returns, once that is true; pytest's time limit ends what never is."""
    pause = threading.Event()
    while not (found := look()):
        pause.wait(LOOK_EVERY_S)
    return found
