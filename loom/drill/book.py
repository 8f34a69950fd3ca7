"""The accountant's own record: what was asked of Loom and what it answered, fsynced line by line.

Nothing in it comes from Loom's tables. It is written before a request and after its answer, so that
a drill that dies has it too.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Sort(StrEnum):
    """What a bead asks for, and so how it has to end."""

    PATCH = "patch"
    """Succeeds, with one commit on its branch."""
    VERIFY = "verify"
    """Succeeds, without a commit."""
    FAIL = "fail"
    """Fails by its own test, without a commit."""


class Answer(StrEnum):
    """What was seen of a request."""

    NONE = "none"
    """It was about to be sent when the record ends."""
    ACCEPTED = "accepted"
    """202 was read."""
    INDETERMINATE = "indeterminate"
    """No answer was read, so the bead may be there or not; neither is a loss."""
    REFUSED = "refused"
    """Loom said no: the bead must not be there."""


@dataclass(slots=True)
class Filing:
    """One bead that was asked for. nonce: in its title, no other has it. during: the turn."""

    nonce: str
    sort: Sort
    during: int
    answer: Answer = Answer.NONE
    bead_id: str = ""
    why: str = ""
    tries: int = 0


@dataclass(slots=True)
class Letter:
    """A message that was sent to be refused: it has to stand among the dead letters, once."""

    message_id: str
    queue: str


@dataclass(slots=True)
class Page:
    """All that the record says."""

    filings: dict[str, Filing] = field(default_factory=dict)
    letters: list[Letter] = field(default_factory=list)

    def of(self, answer: Answer) -> list[Filing]:
        """The filings with that answer."""
        return [filing for filing in self.filings.values() if filing.answer is answer]


class Book:
    """Appends to the record; any thread may."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def asks(self, nonce: str, sort: Sort, during: int, bead_id: str = "") -> None:
        """A request is about to be sent. bead_id: where the request names it."""
        self._write("asks", nonce=nonce, sort=sort.value, during=during, bead_id=bead_id)

    def answered(self, nonce: str, answer: Answer, bead_id: str = "", why: str = "") -> None:
        """What came of it."""
        self._write("answered", nonce=nonce, answer=answer.value, bead_id=bead_id, why=why)

    def sends_letter(self, message_id: str, queue: str) -> None:
        """A message that nobody can take is in that queue."""
        self._write("letter", message_id=message_id, queue=queue)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def read(self) -> Page:
        """The record as it stands on the disk."""
        return read(map(json.loads, self.path.read_text().splitlines()))

    def _write(self, what: str, **entry: Any) -> None:
        line = json.dumps({"at": time.time(), "what": what} | entry) + "\n"
        with self._lock:
            os.write(self._file, line.encode())
            os.fsync(self._file)


def read(lines: Iterable[Mapping[str, Any]]) -> Page:
    """The lines of a record as what they say."""
    page = Page()
    for line in lines:
        if line["what"] == "letter":
            page.letters.append(Letter(line["message_id"], line["queue"]))
            continue
        nonce = line["nonce"]
        if line["what"] == "asks":
            filing = page.filings.setdefault(
                nonce, Filing(nonce, Sort(line["sort"]), line["during"], bead_id=line["bead_id"])
            )
            filing.tries += 1
            continue
        filing = page.filings[nonce]
        # Once accepted, a later answer that did not come takes nothing back.
        if filing.answer is not Answer.ACCEPTED:
            filing.answer = Answer(line["answer"])
            filing.why = line["why"]
        filing.bead_id = line["bead_id"] or filing.bead_id
    return page
