"""The part of FakeLedger that lists beads, and by which people handle them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from loom.clients.answers import Page
from loom.database import bulk as bulks
from loom.database import cursor as cursors
from loom.database import handing, listing
from loom.database.changes import Changes, Standing
from loom.domain.audit import Intervention, check_intervention
from loom.domain.bead import Bead
from loom.domain.bulk import MAX_BULK, Act, Bulk, BulkAnswer
from loom.domain.listing import ALL, BeadFilter, BeadSort
from loom.domain.outbox import OutboxKind
from loom.domain.priority import rank, waiting_since
from loom.domain.replay import LetterState


class FakeDesk:
    """Lists of beads, and calls of the DeskService, on memory."""

    _tables: Any
    _lock: Any
    _now: datetime
    _standing: Callable[[str], Standing]
    _apply: Callable[[Changes], None]
    _note: Callable[..., None]
    _settle_of_bead: Callable[[str, LetterState, Intervention], None]
    get_bead: Callable[[str], Bead]

    def list_beads(
        self, project_id: str = "", states: Sequence[str] = (), resolution: str = "",
        page_size: int = 50, cursor: str = "", *, where: BeadFilter = ALL,
        sort: BeadSort = BeadSort.NEWEST,
    ) -> Page[Bead]:  # fmt: skip
        """As the client."""
        size = cursors.page_size(page_size, listing.PAGE, listing.LARGEST_PAGE)
        where = replace(
            where,
            projects=(project_id,) if project_id else where.projects,
            states=tuple(states) or where.states,
            resolution=resolution or where.resolution,
        )
        after = listing.place(cursor, sort) if cursor else None
        found = self._listed(where, sort, after)
        more = len(found) > size
        return Page(
            tuple(found[:size]), listing.cursor_after(found[size - 1], sort) if more else ""
        )

    def _listed(
        self, where: BeadFilter, sort: BeadSort, after: tuple[Any, ...] | None = None
    ) -> list[Bead]:
        listing.check(where)
        with self._lock:
            shown = [
                kept.bead
                for id_, kept in self._tables.beads.items()
                if where.shows(kept.bead, self._agent_at(id_))
            ]
        shown.sort(key=lambda bead: listing.key(bead, sort), reverse=sort.falling)
        if after is None:
            return shown
        if sort.falling:
            return [bead for bead in shown if listing.key(bead, sort) < after]
        return [bead for bead in shown if listing.key(bead, sort) > after]

    def _agent_at(self, bead_id: str) -> str:
        running = self._standing(bead_id).running
        return running.agent_id if running else ""

    def assign_bead(self, bead_id: str, assignee: str, by: Intervention) -> Bead:
        """As the client."""
        check_intervention(by)
        handing.check_name(assignee)
        with self._lock:
            before = self.get_bead(bead_id)
            handed = handing.hand(before, assignee, by)
            if handed is None:
                return before
            self._tables.beads[bead_id].bead = replace(
                before, assignee=assignee, version=before.version + 1, updated_at=self._now
            )
            self._apply(Changes(events=(handed.event,)))
            self._note(by, handed.action, bead_id, assignee=assignee, was=before.assignee)
            return self.get_bead(bead_id)

    def act_on_beads(self, bulk: Bulk, by: Intervention) -> BulkAnswer:
        """As the client."""
        check_intervention(by)
        bulks.check(bulk)
        with self._lock:
            ids, more = list(bulk.ids), False
            if not ids:
                found = [bead.id for bead in self._listed(bulk.where, BeadSort.OLDEST)]
                ids, more = found[:MAX_BULK], len(found) > MAX_BULK
            known = [id_ for id_ in ids if id_ in self._tables.beads]
            standings = bulks.within(bulk, {id_: self._standing(id_) for id_ in known})
            ended = {id_: end for id_ in known if (end := self._tables.beads[id_].bead.resolution)}
            decided = bulks.decide(bulk, ids, standings, ended, by)
            if not bulk.dry_run:
                self._carry_out(bulk, decided, standings, by)
            return BulkAnswer(decided.done, more)

    def _carry_out(
        self, bulk: Bulk, decided: bulks.Decided, standings: dict[str, Standing], by: Intervention
    ) -> None:
        if bulk.act is Act.PRIORITY:
            for id_ in decided.touched:
                self._set_priority(id_, bulk.priority)
        self._apply(decided.changes)
        for id_ in decided.touched:
            if state := bulks.LETTERS.get(bulk.act):
                self._settle_of_bead(id_, state, by)
            was = standings[id_].state.value
            self._note(by, bulks.ACTIONS[bulk.act], id_, was=was, bulk=len(decided.touched))

    def _set_priority(self, bead_id: str, priority: int) -> None:
        kept = self._tables.beads[bead_id]
        kept.bead = replace(
            kept.bead, priority=priority, version=kept.bead.version + 1, updated_at=self._now
        )
        for due in self._tables.outbox.values():
            if due.row.kind is OutboxKind.TASK and due.row.bead_id == bead_id:
                since = waiting_since(kept.bead.created_at, kept.bead.not_before)
                due.rank = rank(priority, since)
