"""What is told of dead letters that arrive and are dealt with."""

from __future__ import annotations

from typing import Any, Protocol

from loom.database.changes import Event
from loom.domain.audit import Intervention
from loom.domain.replay import LetterState

_SETTLED = {
    LetterState.REPLAYED: "dead_letter.replayed",
    LetterState.DISCARDED: "dead_letter.discarded",
}


class Letter(Protocol):
    """What an event says of a letter; a DeadLetter has it, and so has a row."""

    @property
    def id(self) -> int: ...
    @property
    def project_id(self) -> str: ...
    @property
    def bead_id(self) -> str: ...
    @property
    def epoch(self) -> int: ...
    @property
    def queue(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def correlation_id(self) -> str: ...


def recorded(letter: Letter, id_: int) -> Event:
    """A letter has arrived."""
    return _event("dead_letter.recorded", letter, id_)


def settled(letter: Letter, state: LetterState, by: Intervention) -> Event:
    """A letter was replayed or discarded."""
    return _event(_SETTLED[state], letter, letter.id, by=by.actor)


def group_discarded(project_id: str, fingerprint: str, letters: int, by: Intervention) -> Event:
    """All open letters of a group were discarded: one event, however many there were."""
    data = {"fingerprint": fingerprint, "letters": letters, "by": by.actor}
    kind = _SETTLED[LetterState.DISCARDED]
    return Event(kind, project_id, "", 0, data, by.correlation_id, by.traceparent)


def _event(kind: str, letter: Letter, id_: int, **facts: Any) -> Event:
    data = {
        "letter_id": id_,
        "queue": letter.queue,
        "reason": letter.reason,
        "fingerprint": letter.fingerprint,
        **facts,
    }
    return Event(kind, letter.project_id, letter.bead_id, letter.epoch, data, letter.correlation_id)
