"""The part of FakeLedger about the live logs of attempts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from loom.database import loglines, lognotes
from loom.database.logbook import place_of
from loom.database.lognotes import Reading, Teller, Told
from loom.database.retention import LOGS_SHARE
from loom.domain.bead import Attempt, Bead
from loom.domain.log import LogChunk, LogCursor, LogPage, LogVerdict
from loom.domain.retention import Ages, Forgotten, check_ages


class FakeLogs:
    """Calls about logs, on memory."""

    _lock: Any
    _now: datetime
    get_bead: Callable[[str], Bead]
    list_attempts: Callable[[str], tuple[Attempt, ...]]
    _tables: Any

    def __init__(self) -> None:
        self._chunks: dict[tuple[str, int], dict[int, tuple[LogChunk, datetime]]] = {}
        self._kept = threading.Condition()

    def append_logs(self, chunks: Sequence[LogChunk]) -> tuple[LogVerdict, ...]:
        """As the client."""
        verdicts = []
        with self._lock:
            for chunk in chunks:
                known = self._chunks.get((chunk.bead_id, chunk.epoch), {})
                verdict = lognotes.judge(chunk, self._teller(chunk.bead_id, chunk.epoch), 0)
                if verdict is LogVerdict.KEPT and chunk.seq in known:
                    verdict = LogVerdict.KNOWN
                if verdict is LogVerdict.KEPT:
                    mine = self._chunks.setdefault((chunk.bead_id, chunk.epoch), {})
                    mine[chunk.seq] = (chunk, self._now)
                verdicts.append(verdict)
        with self._kept:
            self._kept.notify_all()
        return tuple(verdicts)

    def read_log(
        self, bead_id: str, epoch: int = 0, cursor: str = "", limit: int = 0,
        *, from_now: bool = False,
    ) -> LogPage:  # fmt: skip
        """As the client."""
        most = lognotes.page_size(limit)
        place = place_of(cursor, epoch)
        with self._lock:
            epochs = [attempt.epoch for attempt in self.list_attempts(bead_id)]
            if place is None:
                newest = epoch or max(epochs, default=0)
                mine = self._chunks.get((bead_id, newest), {})
                place = LogCursor(newest)
                if from_now and mine:
                    seq = max(mine)
                    place = LogCursor(newest, seq, len(mine[seq][0].lines))
            if place.epoch and place.epoch not in epochs:
                raise loglines.no_attempt(bead_id, place.epoch)
            mine = self._chunks.get((bead_id, place.epoch), {})
            told = [
                Told(seq, chunk.first, chunk.lines, at, (self._now - at).total_seconds())
                for seq, (chunk, at) in sorted(mine.items())
                if seq >= place.seq
            ]
            about = Reading(
                teller=self._teller(bead_id, place.epoch) if place.epoch else None,
                last=max((seq for seq, (chunk, _) in mine.items() if chunk.last), default=0),
                later=min((each for each in epochs if each > place.epoch), default=0),
                settled=lognotes.settled(self.get_bead(bead_id).state.value),
            )
            return lognotes.read(place, told[: lognotes.CHUNKS], about, most, pinned=epoch > 0)

    def watch_logs(self, known: Mapping[str, str], wait_ms: int = 0) -> Mapping[str, str]:
        """As the client; it waits for lines alone."""
        differ = self._differ(known)
        if not differ and wait_ms:
            with self._kept:
                self._kept.wait(wait_ms / 1000)
            differ = self._differ(known)
        return differ

    def forget_old(self, ages: Ages, limit: int = 1_000) -> Forgotten:
        """As the client, of logs alone: nothing else of this ledger's knows its age."""
        check_ages(ages)
        with self._lock:
            old = [key for key in self._chunks if ages.logs and self._ended_s(*key) > ages.logs]
            del old[max(1, limit // LOGS_SHARE) :]
            for key in old:
                del self._chunks[key]
            return Forgotten(logs=len(old))

    def _ended_s(self, bead_id: str, epoch: int) -> float:
        teller = self._teller(bead_id, epoch)
        return teller.ended_s or 0.0 if teller is not None else 0.0

    def _differ(self, known: Mapping[str, str]) -> Mapping[str, str]:
        with self._lock:
            marks = {id_: self._mark(id_) for id_ in known if id_ in self._tables.beads}
        return {id_: mark for id_, mark in marks.items() if mark != known[id_]}

    def _mark(self, bead_id: str) -> str:
        bead = self.get_bead(bead_id)
        chunks = len(self._chunks.get((bead_id, bead.epoch), {}))
        return lognotes.mark(bead.version, bead.epoch, chunks)

    def _teller(self, bead_id: str, epoch: int) -> Teller | None:
        if bead_id not in self._tables.beads:
            return None
        bead = self.get_bead(bead_id)
        for attempt in self.list_attempts(bead_id):
            if attempt.epoch == epoch:
                ended = attempt.finished_at
                mine = self._chunks.get((bead_id, epoch), {})
                return Teller(
                    project_id=bead.project_id,
                    newest=epoch == bead.epoch,
                    outcome=attempt.outcome,
                    held=attempt.lease_until > self._now,
                    ended_s=(self._now - ended).total_seconds() if ended else None,
                    size=sum(chunk.size for chunk, _ in mine.values()),
                )
        return None
