"""The part of FakeLedger that people and their timers use: beads, dead letters, the audit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from loom.clients.answers import Page
from loom.clients.steering import Sweepable
from loom.database import decisions, interventions, letter_events
from loom.database.beads import missing as missing_bead
from loom.database.changes import Changes, Standing
from loom.database.deadletters import check_state, missing
from loom.database.outbox import replay_payload
from loom.database.settling import check_discard, facts
from loom.database.sweeping import TRIES
from loom.domain.audit import AuditLine, Intervention, check_intervention, takes
from loom.domain.bead import Bead
from loom.domain.identity import check_bead_id, new_message_id
from loom.domain.outbox import OutboxKind, OutboxRow
from loom.domain.replay import (
    LetterGroup,
    LetterState,
)
from loom.errors import IllegalTransition
from loom.messaging.deadletter import MAX_LISTED_BYTES, DeadLetter
from loom.testing.pages import downwards
from loom.testing.replays import FakeReplays


class FakeLetters(FakeReplays):
    """Calls on beads, dead letters and the audit, on memory; FakeLedger has the others."""

    _tables: Any
    _lock: Any
    _now: datetime
    _standing: Callable[[str], Standing]
    _apply: Callable[[Changes], None]
    _owe: Callable[..., None]
    _tick: Callable[[], datetime]

    def __init__(self) -> None:
        FakeReplays.__init__(self)
        self._letters: list[DeadLetter] = []
        self._sweeps: dict[int, int] = {}
        self._trail: list[AuditLine] = []

    def _note(
        self, by: Intervention, action: str, target: str, **detail: str | float | bool
    ) -> None:
        line = AuditLine(
            len(self._trail) + 1, self._tick(), by.actor, action, target, by.reason,
            by.correlation_id, detail,
        )  # fmt: skip
        self._trail.append(line)

    def list_audit(
        self, target: str = "", action: str = "", page_size: int = 50, cursor: str = ""
    ) -> Page[AuditLine]:
        """As the client."""
        found = [
            line
            for line in reversed(self._trail)
            if target in ("", line.target) and takes(action, line.action)
        ]
        return downwards(found, lambda line: line.id, page_size, 500, cursor)

    # Beads.

    def cancel_bead(self, bead_id: str, by: Intervention) -> Bead:
        """As the client."""
        check_intervention(by)
        with self._lock:
            bead = self._bead(bead_id)
            was = bead.state.value
            changes = interventions.cancel(self._standing(bead_id), bead.resolution, by)
            if changes:
                self._apply(changes)
                self._settle_of_bead(bead_id, LetterState.DISCARDED, by)
                self._note(by, "bead.cancel", bead_id, was=was)
            return self._bead(bead_id)

    def unblock_bead(self, bead_id: str, by: Intervention) -> Bead:
        """As the client."""
        check_intervention(by)
        with self._lock:
            reason = self._bead(bead_id).reason
            changes = interventions.unblock(self._standing(bead_id), by)
            if changes:
                self._apply(changes)
                self._settle_of_bead(bead_id, LetterState.REPLAYED, by)
                self._note(by, "bead.unblock", bead_id, blocked_by=reason)
            return self._bead(bead_id)

    def _bead(self, bead_id: str) -> Bead:
        check_bead_id(bead_id)
        if bead_id not in self._tables.beads:
            raise missing_bead(bead_id)
        bead: Bead = self._tables.beads[bead_id].bead
        return bead

    def _known(self, bead_id: str) -> Standing | None:
        return self._standing(bead_id) if bead_id in self._tables.beads else None

    # Dead letters.

    def record_dead_letters(self, letters: Sequence[DeadLetter]) -> tuple[int, int]:
        """As the client."""
        recorded = blocked = 0
        with self._lock:
            known = {(letter.message_id, letter.queue) for letter in self._letters}
            for letter in letters:
                if (letter.message_id, letter.queue) in known:
                    continue
                known.add((letter.message_id, letter.queue))
                number = len(self._letters) + 1
                size = max(letter.size, len(letter.body))
                self._letters.append(
                    replace(letter, recorded_at=self._tick(), id=number, size=size)
                )
                recorded += 1
                arrived = letter_events.recorded(letter, number)
                changes = decisions.dead(self._known(letter.bead_id), letter)
                changes = Changes(events=(arrived,)) + changes
                blocked += len(changes.moved)
                self._apply(changes)
        return recorded, blocked

    def get_dead_letter(self, letter_id: int) -> DeadLetter:
        """As the client."""
        if not 1 <= letter_id <= len(self._letters):
            raise missing(letter_id)
        return self._letters[letter_id - 1]

    def list_dead_letters(
        self, project_id: str = "", page_size: int = 50, cursor: str = "", state: str = "",
        fingerprint: str = "", *, project_ids: Sequence[str] = (),
    ) -> Page[DeadLetter]:  # fmt: skip
        """As the client."""
        check_state(state)
        found = [
            replace(letter, body=letter.body[:MAX_LISTED_BYTES])
            for letter in reversed(self._letters)
            if project_id in ("", letter.project_id)
            and (not project_ids or letter.project_id in project_ids)
            and state in ("", letter.state)
            and fingerprint in ("", letter.fingerprint)
        ]
        return downwards(found, lambda letter: letter.id, page_size, 100, cursor)

    def list_dead_letter_groups(
        self, project_id: str = "", state: str = "", page_size: int = 50, cursor: str = "",
        *, project_ids: Sequence[str] = (),
    ) -> Page[LetterGroup]:  # fmt: skip
        """As the client."""
        check_state(state)
        by_cause: dict[str, list[DeadLetter]] = {}
        for letter in self._letters:
            if project_id in ("", letter.project_id) and (
                not project_ids or letter.project_id in project_ids
            ):
                by_cause.setdefault(letter.fingerprint, []).append(letter)
        found = [
            _group(letters)
            for letters in by_cause.values()
            if not state or any(letter.state == state for letter in letters)
        ]
        found.sort(key=lambda group: -group.example_id)
        return downwards(found, lambda group: group.example_id, page_size, 500, cursor)

    def _settle(
        self, ids: Sequence[int], state: LetterState, by: Intervention, *, tells: bool = True
    ) -> None:
        for id_ in ids:
            letter = self._letters[id_ - 1]
            if letter.state is LetterState.OPEN:
                self._letters[id_ - 1] = replace(
                    letter, state=state, settled_at=self._tick(), settled_by=by.actor,
                    note=by.reason,
                )  # fmt: skip
                if tells:
                    self._apply(Changes(events=(letter_events.settled(letter, state, by),)))

    def _settle_of_bead(self, bead_id: str, state: LetterState, by: Intervention) -> None:
        self._settle([each.id for each in self._letters if each.bead_id == bead_id], state, by)

    def _open(self, fingerprint: str) -> list[DeadLetter]:
        return [
            letter
            for letter in self._letters
            if letter.fingerprint == fingerprint and letter.state is LetterState.OPEN
        ]

    def replay_dead_letter(
        self, letter_id: int, by: Intervention, *, dry_run: bool = False
    ) -> DeadLetter:
        """As the client."""
        check_intervention(by)
        with self._lock:
            letter = self.get_dead_letter(letter_id)
            refused, _ = self._replay_one(letter, by, dry_run=dry_run)
            if refused:
                raise IllegalTransition(refused, letter_id=str(letter_id), state=letter.state.value)
            if not dry_run:
                self._note(by, "dead_letter.replay", str(letter_id), **facts(letter))
            return self.get_dead_letter(letter_id)

    def _replay_one(
        self, letter: DeadLetter, by: Intervention, *, dry_run: bool = False
    ) -> tuple[str, str]:
        """Why it was refused, or the id of the message that is published."""
        decided = interventions.replay(letter, self._known(letter.bead_id), by)
        if decided.refused or dry_run:
            return decided.refused, ""
        self._apply(decided.changes)
        self._settle([letter.id], LetterState.REPLAYED, by)
        if not decided.publish:
            self._settle_of_bead(letter.bead_id, LetterState.REPLAYED, by)
            return "", ""
        message_id = new_message_id()
        payload = json.loads(replay_payload(letter.queue, letter.headers, letter.content_type))
        self._owe(
            OutboxRow(
                0, OutboxKind.REPLAY, "dead_letter.replayed", message_id, letter.project_id,
                letter.bead_id, letter.epoch, 0, letter.correlation_id, "", self._now, payload,
                letter.body,
            )
        )  # fmt: skip
        return "", message_id

    def discard_dead_letter(
        self, letter_id: int, by: Intervention, *, dry_run: bool = False
    ) -> DeadLetter:
        """As the client."""
        check_intervention(by)
        with self._lock:
            letter = self.get_dead_letter(letter_id)
            check_discard(letter)
            if not dry_run and letter.state is LetterState.OPEN:
                self._settle([letter_id], LetterState.DISCARDED, by)
                self._note(by, "dead_letter.discard", str(letter_id), **facts(letter))
            return self.get_dead_letter(letter_id)

    def discard_dead_letter_group(
        self, fingerprint: str, by: Intervention, *, dry_run: bool = False
    ) -> tuple[int, int]:
        """As the client."""
        check_intervention(by)
        with self._lock:
            found = [letter.id for letter in self._open(fingerprint)]
            if dry_run or not found:
                return len(found), 0
            projects = Counter(letter.project_id for letter in self._open(fingerprint))
            self._settle(found, LetterState.DISCARDED, by, tells=False)
            told = (
                letter_events.group_discarded(project_id, fingerprint, letters, by)
                for project_id, letters in projects.items()
            )
            self._apply(Changes(events=tuple(told)))
            self._note(by, "dead_letters.discard", fingerprint, letters=len(found))
            return len(found), len(found)

    # Copies on the broker.

    def list_sweepable(self, limit: int = 500) -> tuple[Sweepable, ...]:
        """As the client."""
        return tuple(
            Sweepable(letter.id, letter.message_id, letter.queue, letter.project_id)
            for letter in self._letters
            if letter.state is not LetterState.OPEN and self._sweeps.get(letter.id, 0) < TRIES
        )[:limit]

    def settle_swept(self, gone: Sequence[int], missing: Sequence[int]) -> None:
        """As the client."""
        for id_ in gone:
            self._sweeps[id_] = TRIES
        for id_ in missing:
            self._sweeps[id_] = self._sweeps.get(id_, 0) + 1


def _group(letters: Sequence[DeadLetter]) -> LetterGroup:
    first, last = letters[0], letters[-1]
    return LetterGroup(
        last.fingerprint, last.project_id, last.queue, last.reason, last.detail, len(letters),
        sum(letter.state is LetterState.OPEN for letter in letters),
        first.recorded_at or datetime.min, last.recorded_at or datetime.min, last.id,
    )  # fmt: skip
