"""What tools say of themselves at their end, read without any of Loom's code.

Only the summaries and the lists of failures that each prints for people are used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Tests:
    """Counts, and the names of what failed as its tool lists them."""

    __test__ = False  # not a test of pytest's

    total: int
    passed: int
    failed: int
    skipped: int
    names: frozenset[str] = frozenset()


def tests(tool: str, output: str) -> Tests:
    """What the test tool told."""
    return _TESTS[tool](COLOUR.sub("", output))


def findings(tool: str, output: str) -> int:
    """How many findings the linter told of."""
    text = COLOUR.sub("", output)
    if tool == "eslint":
        told = re.search(r"^✖ (\d+) problems?", text, re.MULTILINE)
        return int(told[1]) if told else 0
    if told := re.search(r"^Found (\d+) errors?", text, re.MULTILINE):
        return int(told[1])
    good = {"ruff": "All checks passed!", "mypy": "Success: no issues found"}[tool]
    assert good in text, f"{tool} said neither what it found nor that all is well:\n{text[-2000:]}"
    return 0


def _pytest(text: str) -> Tests:
    line = re.findall(r"^=+ (.*) in [0-9.]+s.* =+$", text, re.MULTILINE)[-1]
    counts = {what: int(number) for number, what in re.findall(r"(\d+) ([a-z]+)", line)}
    names = re.findall(r"^(?:FAILED|ERROR) (\S+\.py::.*?)(?: - .*)?$", text, re.MULTILINE)
    return _summed(
        passed=counts.get("passed", 0) + counts.get("xpassed", 0),
        failed=counts.get("failed", 0) + counts.get("error", 0) + counts.get("errors", 0),
        skipped=counts.get("skipped", 0) + counts.get("xfailed", 0),
        names=map(_dotted, names),
    )


def _dotted(name: str) -> str:
    """A test of pytest's as its XML report names it; what stands in brackets is its own."""
    path, bracket, values = name.partition("[")
    return path.replace(".py::", ".").replace("/", ".").replace("::", ".") + bracket + values


def _unittest(text: str) -> Tests:
    total = int(re.findall(r"^Ran (\d+) tests? in", text, re.MULTILINE)[-1])
    end = re.findall(r"^(?:OK|FAILED)(?: \((.*)\))?$", text, re.MULTILINE)[-1]
    counts = {what: int(number) for what, number in re.findall(r"([a-z][a-z ]*)=(\d+)", end)}
    failed = counts.get("failures", 0) + counts.get("errors", 0)
    skipped = counts.get("skipped", 0)
    names = re.findall(r"^(?:FAIL|ERROR): (.+)$", text, re.MULTILINE)
    return _summed(total - failed - skipped, failed, skipped, names)


def _tape(text: str) -> Tests:
    told = {what: int(count) for what, count in re.findall(r"^# (\w+) +(\d+)$", text, re.MULTILINE)}
    failed = told.get("fail", 0)
    # Its summary has those among what passed.
    skipped = len(re.findall(r"^ok \d+ .*# SKIP\b", text, re.MULTILINE))
    points = re.findall(r"^not ok (\d+)(.*)$", text, re.MULTILINE)
    names = (name.strip() or f"test {number}" for number, name in points)
    return _summed(told["tests"] - failed - skipped, failed, skipped, names)


def _mocha(text: str) -> Tests:
    counts = {
        what: int(count)
        for count, what in re.findall(r"^ *(\d+) (passing|pending|failing)\b", text, re.MULTILINE)
    }
    listed = text.partition(f"{counts.get('failing', 0)} failing")[2]
    titles = re.findall(r"^ {2,4}\d+\) ((?:.*\n)*?.*:)$", listed, re.MULTILINE)
    names = (re.sub(r"\s*\n\s*", " ", title).removesuffix(":") for title in titles)
    return _summed(counts["passing"], counts.get("failing", 0), counts.get("pending", 0), names)


def _summed(passed: int, failed: int, skipped: int, names: Iterable[str]) -> Tests:
    return Tests(passed + failed + skipped, passed, failed, skipped, frozenset(names))


_TESTS: Mapping[str, Callable[[str], Tests]] = {
    "pytest": _pytest,
    "unittest": _unittest,
    "tape": _tape,
    "mocha": _mocha,
}
