"""Counts tests as a report tells of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from loom.domain.evidence import MAX_FAILURES, TestFailure, TestReport

NAME_CHARS, MESSAGE_CHARS = 500, 2_000
LINE_CHARS = 4_000
"""How much of a line is looked at: no line that a tool reports by is longer."""
JSON_CHARS = 1024**2
"""How long a JSON document of one line may be."""
_COLOUR = re.compile(r"\x1b\[[0-9;:?]{0,40}[A-Za-z]")
UNNAMED = "(unnamed)"


class Unreadable(Exception):
    """What was to be read is no such report; the words say why."""


@dataclass(slots=True)
class Tally:
    """What was counted so far."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[TestFailure] = field(default_factory=list)

    def fail(self, name: str, message: str = "") -> None:
        """One more has failed."""
        self.failed += 1
        self.name(name, message)

    def name(self, name: str, message: str = "") -> None:
        """Tell of one that is counted elsewhere."""
        if len(self.failures) < MAX_FAILURES:
            known = shortened(name.strip(), NAME_CHARS) or UNNAMED
            self.failures.append(TestFailure(known, shortened(message.strip(), MESSAGE_CHARS)))

    def report(self, form: str) -> TestReport:
        """All of it. form: what the report was written in."""
        if self.failed and not self.failures:
            self.name(UNNAMED, f"{self.failed} failed: the report names none of them")
        return TestReport(
            format=form,
            total=self.passed + self.failed + self.skipped,
            passed=self.passed,
            failed=self.failed,
            skipped=self.skipped,
            failures=tuple(self.failures),
        )


def merged(reports: list[TestReport]) -> TestReport:
    """Several reports of one step as one; at least one."""
    first = reports[0]
    if len(reports) == 1:
        return first
    return TestReport(
        format=first.format,
        total=sum(r.total for r in reports),
        passed=sum(r.passed for r in reports),
        failed=sum(r.failed for r in reports),
        skipped=sum(r.skipped for r in reports),
        failures=tuple(f for r in reports for f in r.failures)[:MAX_FAILURES],
    )


def lines(text: str) -> Iterator[str]:
    """The lines of an output, without colours and what is beyond any tool's line."""
    for line in whole_lines(text, LINE_CHARS):
        yield _COLOUR.sub("", line).rstrip("\r")


def whole_lines(text: str, most: int) -> Iterator[str]:
    """The beginning of each line, one at a time: there may be as many as there are characters."""
    at = 0
    while at <= len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        yield text[at : min(end, at + most)]
        at = end + 1


def number(text: str) -> int:
    """A count as a tool writes it; 0 for one that no tool could mean."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def count(value: object) -> int:
    """A count in JSON; 0 for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return value if 0 <= value < 10**9 else 0


def words(value: object) -> str:
    """A text in JSON; nothing for anything else."""
    return value if isinstance(value, str) else ""


def shortened(text: str, most: int) -> str:
    """The beginning of the text."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
