"""The part of FakeLedger that replays groups of dead letters, at a rate and after a canary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from loom.clients.answers import Page
from loom.database import interventions
from loom.database.changes import Standing
from loom.domain.audit import Intervention, check_intervention
from loom.domain.identity import new_message_id
from loom.domain.replay import (
    BATCH,
    GroupReplay,
    LetterState,
    Replay,
    ReplayState,
    allowance,
    check_rate,
)
from loom.errors import Conflict
from loom.messaging.deadletter import DeadLetter
from loom.testing.pages import downwards


@dataclass(slots=True)
class _Replaying:
    replay: Replay
    by: Intervention
    last: int
    advanced_at: datetime
    place: int = 0
    canary: int = 0
    canary_message_id: str = ""
    quiet_since: datetime | None = None


class FakeReplays:
    """Calls on replays, on memory; FakeLetters has the letters."""

    _tables: Any
    _lock: Any
    _now: datetime
    _letters: list[DeadLetter]
    _known: Callable[[str], Standing | None]
    _open: Callable[[str], list[DeadLetter]]
    _replay_one: Callable[..., tuple[str, str]]
    _note: Callable[..., None]

    def __init__(self) -> None:
        self._replays: list[_Replaying] = []

    def replay_dead_letter_group(
        self, fingerprint: str, by: Intervention, *, dry_run: bool = False,
        rate_per_s: float = 0.0, canary: bool = False,
    ) -> GroupReplay:  # fmt: skip
        """As the client."""
        check_intervention(by)
        rate = check_rate(rate_per_s)
        with self._lock:
            matching = len(self._open(fingerprint))
            if dry_run or not matching:
                return GroupReplay(matching)
            for each in self._replays:
                if each.replay.fingerprint == fingerprint and each.replay.ended_at is None:
                    raise Conflict(f"replay {each.replay.id} of group {fingerprint} runs already")
            last = max(each.id for each in self._letters if each.fingerprint == fingerprint)
            begun = _Replaying(
                Replay(
                    new_message_id(), fingerprint,
                    ReplayState.CANARY if canary else ReplayState.RUNNING, rate, 0, 0, matching,
                    "", by.actor, by.reason, self._now,
                ),
                by, last, self._now,
            )  # fmt: skip
            self._replays.append(begun)
            self._note(
                by, "dead_letters.replay", fingerprint, replay_id=begun.replay.id,
                letters=matching, rate_per_s=rate, canary=canary,
            )  # fmt: skip
            self._step(begun, 1 if canary else max(1, allowance(rate, 1.0)))
            return GroupReplay(matching, begun.replay)

    def list_replays(
        self, fingerprint: str = "", page_size: int = 50, cursor: str = ""
    ) -> Page[Replay]:
        """As the client."""
        found = [
            each.replay
            for each in reversed(self._replays)
            if fingerprint in ("", each.replay.fingerprint)
        ]
        return downwards(found, lambda replay: replay.id, page_size, 500, cursor)

    def advance_replays(self, limit: int = 50) -> tuple[int, int, int]:
        """As the client."""
        with self._lock:
            running = [each for each in self._replays if each.replay.ended_at is None][:limit]
            before = [each.replay for each in running]
            for each in running:
                if each.replay.state is ReplayState.CANARY:
                    self._judge(each)
                else:
                    self._go_on(each)
            pairs = [(old, each.replay) for old, each in zip(before, running, strict=True)]
            return (
                sum(new.replayed - old.replayed for old, new in pairs),
                sum(new.refused - old.refused for old, new in pairs),
                sum(new.ended_at is not None for _, new in pairs),
            )

    def _judge(self, each: _Replaying) -> None:
        letter = self._letters[each.canary - 1]
        message_id = each.canary_message_id
        owed = any(due.row.message_id == message_id for due in self._tables.outbox.values())
        quiet_s = None
        if not owed and each.quiet_since is not None:
            quiet_s = (self._now - each.quiet_since).total_seconds()
        verdict = interventions.canary(
            None if message_id else self._known(letter.bead_id),
            interventions.owed_epoch(letter.queue, letter.epoch),
            died_again=bool(message_id)
            and any(other.message_id == message_id for other in self._letters),
            quiet_s=quiet_s,
        )
        if verdict.state == "failed":
            self._end(each, ReplayState.STOPPED, verdict.why)
        elif verdict.state == "well":
            each.replay = replace(each.replay, state=ReplayState.RUNNING)
            self._step(each, max(1, allowance(each.replay.rate_per_s, 1.0)))
        elif not owed and each.quiet_since is None:
            each.quiet_since = self._now

    def _go_on(self, each: _Replaying) -> None:
        fingerprint = each.replay.fingerprint
        again = sum(
            letter.id > each.last for letter in self._letters if letter.fingerprint == fingerprint
        )
        if again:
            why = f"{again} more of the same cause died since it began: mend the cause first"
            self._end(each, ReplayState.STOPPED, why)
            return
        elapsed_s = (self._now - each.advanced_at).total_seconds()
        allowed = allowance(each.replay.rate_per_s, elapsed_s)
        if allowed:
            self._step(each, allowed)

    def _left(self, each: _Replaying) -> list[DeadLetter]:
        return [
            letter
            for letter in self._open(each.replay.fingerprint)
            if each.place < letter.id <= each.last
        ]

    def _step(self, each: _Replaying, allowed: int) -> None:
        canary = each.replay.state is ReplayState.CANARY
        replayed = refused = 0
        why = each.replay.why
        for letter in self._left(each)[: None if canary else min(allowed, BATCH)]:
            each.place = letter.id
            # It was replayed with the bead of one before it.
            if self._letters[letter.id - 1].state is not LetterState.OPEN:
                replayed += 1
                continue
            fault, message_id = self._replay_one(letter, each.by)
            if fault:
                refused, why = refused + 1, fault
                continue
            replayed += 1
            if canary:
                each.canary, each.canary_message_id = letter.id, message_id
                break
        each.advanced_at = self._now
        left = len(self._left(each))
        each.replay = replace(
            each.replay, replayed=each.replay.replayed + replayed,
            refused=each.replay.refused + refused, left=left, why=why,
        )  # fmt: skip
        if not left and not (canary and replayed):
            self._end(each, ReplayState.DONE, why)

    def _end(self, each: _Replaying, state: ReplayState, why: str) -> None:
        each.replay = replace(each.replay, state=state, why=why, ended_at=self._now)
        by = Intervention("loom", why or "every letter of the group was considered")
        self._note(by, f"replay.{state.value}", each.replay.fingerprint, replay_id=each.replay.id)
