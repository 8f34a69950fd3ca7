"""The chain of the audit trail: every line carries a hash over itself and the line before.

Whoever changes, removes or inserts a line has to change every later hash, and so the newest, which
an export that somebody keeps elsewhere holds. PostgreSQL computes the same hashes when lines are
written (the function `audit_content` of the migrations).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from typing import Any

from loom.domain.audit import AuditLine


@dataclass(frozen=True, slots=True)
class Chained:
    """A line at its place. previous: the hash of the line before; empty for the first."""

    place: int
    previous: str
    hash: str
    line: AuditLine


@dataclass(frozen=True, slots=True)
class Head:
    """The newest line's place and hash; 0 and empty while there is none."""

    place: int = 0
    hash: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look at the chain found. broken: the place of the first line that is not as it was;
    0 if all are. lines: how many hold."""

    lines: int
    head: Head
    broken: int = 0
    why: str = ""


def chain(line: AuditLine, after: Head) -> Chained:
    """The line, as the next one after that head."""
    place = after.place + 1
    return Chained(place, after.hash, hash_of(place, after.hash, line), line)


def hash_of(place: int, previous: str, line: AuditLine) -> str:
    """SHA-256 (hex) of the hash before, a line feed, and the line's content."""
    return hashlib.sha256(f"{previous}\n{content(place, line)}".encode()).hexdigest()


def content(place: int, line: AuditLine) -> str:
    """All that the line says, as one text: PostgreSQL's text of jsonb."""
    return canonical(
        {
            "place": place,
            "id": line.id,
            "at": line.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "actor": line.actor,
            "action": line.action,
            "target": line.target,
            "reason": line.reason,
            "correlation_id": line.correlation_id,
            "detail": dict(line.detail),
        }
    )


def canonical(value: Any) -> str:
    """A JSON value as PostgreSQL writes jsonb: keys by length and then bytes, numbers plain."""
    if isinstance(value, Mapping):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        pairs = (f"{_text(key)}: {canonical(value[key])}" for key in keys)
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(canonical, value)) + "]"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f")
    return json.dumps(value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


class Check:
    """Walks a chain from its first line on, a batch at a time."""

    def __init__(self) -> None:
        self._head = Head()
        self._broken: Verdict | None = None

    @property
    def head(self) -> Head:
        """How far it has got."""
        return self._head

    def take(self, lines: Iterable[Chained]) -> bool:
        """Look at the next lines; whether all of them hold."""
        for each in lines:
            if self._broken:
                break
            if why := self._wrong(each):
                self._broken = Verdict(self._head.place, self._head, self._head.place + 1, why)
            else:
                self._head = Head(each.place, each.hash)
        return self._broken is None

    def end(self, kept: Head | None = None) -> Verdict:
        """What was found. kept: the head that somebody knows of by another way."""
        if self._broken:
            return self._broken
        if kept is not None and kept != self._head:
            place = min(kept.place, self._head.place) + 1
            return Verdict(
                self._head.place,
                self._head,
                place,
                f"the trail ends at line {self._head.place}, and {kept.place} were written"
                if kept.place != self._head.place
                else "the newest line is another one than was written",
            )
        return Verdict(self._head.place, self._head)

    def _wrong(self, each: Chained) -> str:
        wanted = self._head.place + 1
        if each.place != wanted:
            return f"line {wanted} is missing: the next one that is there is {each.place}"
        if each.previous != self._head.hash:
            return f"line {each.place} follows another line than the one before it"
        if each.hash != hash_of(each.place, each.previous, each.line):
            return f"line {each.place} says something else than when it was written"
        return ""
