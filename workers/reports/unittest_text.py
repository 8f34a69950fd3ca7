"""What Python's unittest prints: a line for each run, its end, and a block for each failure."""

from __future__ import annotations

import re

from loom.domain.evidence import TestReport
from workers.reports.tally import Tally, Unreadable, lines, number

_RAN = re.compile(r"^Ran (?P<count>[0-9]{1,9}) tests? in [0-9.]{1,20}s$")
_END = re.compile(r"^(?P<how>OK|FAILED|NO TESTS RAN)(?: \((?P<counts>[^)]{1,300})\))?$")
_FAILED = re.compile(r"^(?:FAIL|ERROR|UNEXPECTED SUCCESS): (?P<name>.+)$")
_RULE = re.compile(r"^(?:={70}|-{70})$")


_TEST = re.compile(r"^\S+ \([^)]*\)")
_AROUND = ("setUpClass (", "tearDownClass (", "setUpModule (", "tearDownModule (")


def parse(text: str) -> TestReport:
    """The tests of all runs. Raises Unreadable."""
    reading = _Reading()
    for line in lines(text):
        reading.take(line)
    if not reading.ended:
        raise Unreadable("it has no end of a run of unittest's")
    return reading.tally.report("unittest")


class _Reading:
    def __init__(self) -> None:
        self.tally = Tally()
        self.ended = False
        self.ran: int | None = None
        self.name = ""
        self.block: list[str] = []
        self.tests: set[str] = set()
        """Those with a failure, in this run."""
        self.beside = 0
        """Failures that are of no test, or not the first of theirs."""

    def take(self, line: str) -> None:
        if self.ran is None and (match := _FAILED.match(line)):
            self._told()
            self._tell(match["name"])
        elif match := _RAN.match(line):
            self._told()
            self.ran = number(match["count"])
        elif self.ran is not None and (match := _END.match(line)):
            self._end(self.ran, match["counts"] or "")
        elif _RULE.match(line):
            if self.block:
                self._told()
        elif self.name:
            self.block = [*self.block[-39:], line]

    def _tell(self, name: str) -> None:
        self.name, self.block = name, []
        test = _TEST.match(name)
        known = test[0] if test else name
        # A class that cannot be prepared is no test, and each failed subtest of one is told of.
        if known in self.tests or name.startswith(_AROUND):
            self.beside += 1
        self.tests.add(known)

    def _told(self) -> None:
        if self.name:
            self.tally.name(self.name, _last_words(self.block))
        self.name, self.block = "", []

    def _end(self, ran: int, counts: str) -> None:
        found = {}
        for part in counts.split(", "):
            what, _, value = part.partition("=")
            found[what] = number(value)
        failed = sum(found.get(what, 0) for what in ("failures", "errors", "unexpected successes"))
        skipped = sum(found.get(what, 0) for what in ("skipped", "expected failures"))
        self.tally.failed += failed
        self.tally.skipped += skipped
        self.tally.passed += max(0, ran - max(0, failed - self.beside) - skipped)
        self.ran, self.ended, self.beside, self.tests = None, True, 0, set()


def _last_words(block: list[str]) -> str:
    """The exception at a traceback's end, with the lines that belong to it."""
    text = [line for line in block if line.strip()]
    for index in range(len(text) - 1, -1, -1):
        if text[index].startswith("  ") or text[index].startswith("Traceback"):
            return "\n".join(text[index + 1 :])
    return "\n".join(text)
