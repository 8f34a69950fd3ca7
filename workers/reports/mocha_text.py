"""What mocha prints for people, whichever reporter: counts, and each failed test at the end."""

from __future__ import annotations

import re

from loom.domain.evidence import TestReport
from workers.reports.tally import Tally, Unreadable, lines, number

_COUNT = re.compile(
    r"^ {0,4}(?P<count>[0-9]{1,9}) (?P<what>passing|pending|failing)"
    r"(?: \([0-9]{1,9}(?:ms|s|m|h|d)\))?$"
)
_TITLE = re.compile(r"^ {0,4}(?P<number>[0-9]{1,9})\) (?P<words>\S.*)$")
KEPT_LINES = 6


class _Reading:
    """One run after another; of a failure the titles up to a colon, then what it said."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.seen = False
        self.listing = False
        self.titles: list[str] = []
        self.said: list[str] = []
        self.named = False

    def take(self, line: str) -> None:
        if match := _COUNT.match(line):
            self._count(match["what"], number(match["count"]))
        elif self.listing and (match := _TITLE.match(line)):
            self.close()
            self.titles = [match["words"].rstrip(":")]
            self.named = match["words"].endswith(":")
        elif self.titles and line.strip():
            self._more(line.strip())

    def _count(self, what: str, count: int) -> None:
        if what == "passing":
            self.close()
            self.listing, self.seen = False, True
            self.tally.passed += count
        elif self.seen and what == "pending":
            self.tally.skipped += count
        elif self.seen:
            self.tally.failed += count
            self.listing = True

    def _more(self, words: str) -> None:
        if not self.named:
            self.titles.append(words.rstrip(":"))
            self.named = words.endswith(":")
        elif len(self.said) < KEPT_LINES:
            self.said.append(words)

    def close(self) -> None:
        """Tell of the failure that was read last."""
        if self.titles:
            self.tally.name(" ".join(self.titles[:KEPT_LINES]), "\n".join(self.said))
        self.titles, self.said, self.named = [], [], False


def parse(text: str) -> TestReport:
    """The tests of all runs. Raises Unreadable."""
    reading = _Reading()
    for line in lines(text):
        reading.take(line)
    reading.close()
    if not reading.seen:
        raise Unreadable("it has no count of mocha's")
    return reading.tally.report("mocha")
