"""How full the outbox is: while the broker takes nothing, beads are accepted up to a mark."""

from __future__ import annotations

import threading
import time

from sqlalchemy import Connection, text

from loom.errors import Exhausted

COUNT_EVERY_S = 1.0
"""Between two counts; what is filed meanwhile is added by this process itself."""
ROWS_A_BEAD = 2
"""Its task, and the event that tells of it."""

# Counts no further than the mark, so that it costs what it has to, however full the outbox is.
_COUNT = text("SELECT count(*) FROM (SELECT FROM outbox LIMIT :mark) AS counted")


class HighWater:
    """The mark of one outbox; any thread may ask."""

    def __init__(self, mark: int) -> None:
        """mark: rows."""
        self._mark = mark
        self._lock = threading.Lock()
        self._rows = 0
        self._count_at = float("-inf")

    def admit(self, connection: Connection, beads: int) -> None:
        """Raise Exhausted while the outbox is full; these beads are counted in otherwise.

        Several services that count at once may pass the mark by what they file in a second.
        """
        with self._lock:
            now = time.monotonic()
            due = now >= self._count_at
            if due:
                self._count_at = now + COUNT_EVERY_S
        counted = connection.execute(_COUNT, {"mark": self._mark}).scalar_one() if due else None
        with self._lock:
            if counted is not None:
                self._rows = counted
            if self._rows >= self._mark:
                raise Exhausted(
                    f"{self._rows} messages wait for the broker, which is as many as may: nothing "
                    "was stored. `loom status` says whether the broker is away; send the same "
                    "request again later",
                    limit=str(self._mark),
                )
            self._rows += ROWS_A_BEAD * beads
