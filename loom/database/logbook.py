"""Commands on the live logs of attempts: keep lines, read them, and wait for more."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from loom.database import loglines, lognotes
from loom.database.steering import Run
from loom.domain.log import LogChunk, LogCursor, LogPage, LogVerdict
from loom.errors import Invalid, TooLarge

MOST_CHUNKS = 1_000
MOST_WATCHED = 1_000
MOST_WATCHING = 4
"""How many calls may wait at once, each holding a thread; any more are answered at once."""
LONGEST_WAIT_S = 5.0
POLL_S = 0.5
"""How often a call that waits looks by itself: another service may have kept lines, and beads
move on without any."""
PAUSE_S = 0.05
"""The least time between two looks of one call, however fast lines come."""
ANSWER_S = 0.2


class Logbook:
    """Lines of attempts, each command in one transaction; wake every waiting call to stop it."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._changed = threading.Condition()
        self._count = 0
        self._stopping = threading.Event()
        self._places = threading.BoundedSemaphore(MOST_WATCHING)

    def stop(self) -> None:
        """Let every waiting call go, and none wait any more."""
        self._stopping.set()
        self._tell()

    def append(self, chunks: Sequence[LogChunk], time_left_s: float) -> tuple[LogVerdict, ...]:
        """Keep chunks, each once; what became of each."""
        if len(chunks) > MOST_CHUNKS:
            raise TooLarge(f"a call takes at most {MOST_CHUNKS} chunks")
        verdicts = self._run(lambda c: loglines.append(c, chunks), time_left_s)
        if LogVerdict.KEPT in verdicts:
            self._tell()
        return verdicts

    def read(
        self, bead_id: str, epoch: int, cursor: str, limit: int, time_left_s: float,
        *, from_now: bool = False,
    ) -> LogPage:  # fmt: skip
        """Lines after a place. Raises NotFound (the bead, the attempt), Invalid."""
        most = lognotes.page_size(limit)
        given = place_of(cursor, epoch)

        def work(connection: Connection) -> LogPage:
            place = given
            if place is None:
                newest = epoch or loglines.newest(connection, bead_id)
                place = LogCursor(newest)
                if from_now and newest:
                    place = loglines.end(connection, bead_id, newest)
            about = loglines.about(connection, bead_id, place.epoch)
            # What is known of the attempt may be older than its chunks, and never younger: so
            # nothing that came before its end is missed.
            told = loglines.chunks_from(connection, bead_id, place) if place.epoch else []
            return lognotes.read(place, told, about, most, pinned=epoch > 0)

        return self._run(work, time_left_s)

    def watch(
        self, known: Mapping[str, str], wait_s: float, time_left_s: float
    ) -> Mapping[str, str]:
        """The marks of those beads that are not as known; waits for some."""
        if len(known) > MOST_WATCHED:
            raise TooLarge(f"a call watches at most {MOST_WATCHED} beads")
        ends = time.monotonic() + time_left_s
        give_up = time.monotonic() + min(wait_s, LONGEST_WAIT_S, time_left_s - ANSWER_S)
        while True:
            count = self._count
            marks = self._run(lambda c: loglines.marks(c, list(known)), ends - time.monotonic())
            differ = {id_: mark for id_, mark in marks.items() if mark != known[id_]}
            left_s = give_up - time.monotonic()
            if differ or left_s <= 0 or not self._wait(count, min(left_s, POLL_S)):
                return differ

    def _wait(self, count: int, wait_s: float) -> bool:
        """Wait until lines were kept; False at once if too many wait, or when stopping."""
        if self._stopping.is_set() or not self._places.acquire(blocking=False):
            return False
        try:
            self._stopping.wait(min(PAUSE_S, wait_s))
            with self._changed:
                self._changed.wait_for(lambda: self._count != count, wait_s)
            return not self._stopping.is_set()
        finally:
            self._places.release()

    def _tell(self) -> None:
        with self._changed:
            self._count += 1
            self._changed.notify_all()


def place_of(cursor: str, epoch: int) -> LogCursor | None:
    """The place in a cursor, if there is one; raises Invalid for one of another attempt."""
    if not 0 <= epoch < 2**63:
        raise Invalid("an attempt has a number from 1", field="attempt")
    if not cursor:
        return None
    place = LogCursor.parse(cursor)
    if epoch and place.epoch != epoch:
        raise Invalid(f"the cursor is not one of attempt {epoch}", field="cursor")
    return place
