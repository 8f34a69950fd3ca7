"""Pages that bring themselves up to date take turns, so that what they do together slows nobody
who asks the API.
"""

from __future__ import annotations

import threading

from flask import Flask, g

from loom.control.pages import fragment
from loom.errors import Exhausted

AT_ONCE = 2
"""How many are made at the same moment: more would be done no sooner, and all of one event's pages
ask within a second."""
PATIENCE_S = 10.0


def install(app: Flask, at_once: int = AT_ONCE, patience_s: float = PATIENCE_S) -> None:
    """Let so many refreshes through at once; the others wait, in the end until told to ask again.
    Install it behind the door: who is refused waits for no turn.
    """
    turns = threading.BoundedSemaphore(at_once)

    def wait() -> None:
        if not fragment.asked_for():
            return
        if not turns.acquire(timeout=patience_s):
            raise Exhausted("more pages are open than Loom can keep up to date at once")
        g.turn = True

    def give_up(_error: BaseException | None) -> None:
        if g.pop("turn", False):
            turns.release()

    app.before_request(wait)
    app.teardown_request(give_up)
