"""What pytest prints at its end: the summary line, and a line for each test that failed."""

from __future__ import annotations

import re

from loom.domain.evidence import TestReport
from workers.reports.tally import Tally, Unreadable, lines, number

_SUMMARY = re.compile(
    r"^=* ?(?P<counts>[^=]{1,300}) in [0-9.]{1,20}s(?: \([0-9:, days]+\))?(?: =*)?$"
)
_COUNT = re.compile(r"^(?P<number>[0-9]{1,9}) (?P<what>[a-z ]{1,30})$")
_FAILED = re.compile(
    r"^(?:FAILED|ERROR|SUBFAILED(?: ?\([^)]{0,200}\)| ?\[[^\]]{0,200}\]){0,2}) (?P<rest>.+)$"
)
NONE = ("no tests ran", "no tests collected")
PASSED = frozenset({"passed", "xpassed"})
FAILED = frozenset({"failed", "error", "errors", "subtests failed"})
SKIPPED = frozenset({"skipped", "xfailed"})
BESIDE = frozenset({
    "deselected", "warning", "warnings", "rerun", "reruns", "subtests passed", "subtests skipped",
    "selected",
})  # fmt: skip


def parse(text: str) -> TestReport:
    """The tests of the last summary. Raises Unreadable."""
    tally = Tally()
    known = told = False
    for line in lines(text):
        if _is_heading(line):
            # What was told before belonged to another run, or to a test's own output.
            tally.failures.clear()
            told = True
        elif counts := _counts(line):
            passed, failed, skipped = counts
            tally.passed, tally.failed, tally.skipped = passed, failed, skipped
            known, told = True, False
        elif told and (match := _FAILED.match(line)):
            name, _, message = match["rest"].partition(" - ")
            tally.name(name, message)
    if not known:
        raise Unreadable("it has no summary line of pytest's")
    if not tally.failed:
        tally.failures.clear()
    return tally.report("pytest")


def _is_heading(line: str) -> bool:
    return "short test summary info" in line and line.startswith("=")


def _counts(line: str) -> tuple[int, int, int] | None:
    """Passed, failed and skipped, if it is a summary line."""
    summary = _SUMMARY.match(line)
    if not summary:
        return None
    totals = dict.fromkeys(("passed", "failed", "skipped"), 0)
    for part in summary["counts"].strip().split(", "):
        count = _COUNT.match(part)
        if part.startswith(NONE) or (count and count["what"] in BESIDE):
            continue
        if count is None:
            return None
        kinds = {"passed": PASSED, "failed": FAILED, "skipped": SKIPPED}
        kind = next((kind for kind, names in kinds.items() if count["what"] in names), "")
        if not kind:
            return None
        totals[kind] += number(count["number"])
    return totals["passed"], totals["failed"], totals["skipped"]
