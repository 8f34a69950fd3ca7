"""What `jest --json`, vitest's json reporter and mocha's json reporter write."""

from __future__ import annotations

import re
from typing import Any

from loom.domain.evidence import TestReport
from workers.reports.documents import document, objects, within
from workers.reports.tally import Tally, Unreadable, count, lines, number, words

_SUMMARY = re.compile(r"^Tests: +(?P<counts>.{1,200}) total$")
_COUNT = re.compile(r"^(?P<number>[0-9]{1,9}) (?P<what>failed|passed|skipped|todo|total)$")
_FAILED = re.compile(r"^  ● (?P<name>.+)$")
NO_TESTS = "No tests found"


def parse(text: str) -> TestReport:
    """The tests in a document, or in what jest prints for people. Raises Unreadable."""
    try:
        found = document(text, _is_report)
    except Unreadable:
        return _printed(text)
    return _jest(found) if "numTotalTests" in found else _mocha(found)


def _is_report(found: Any) -> bool:
    return isinstance(found, dict) and (
        "numTotalTests" in found or isinstance(found.get("stats"), dict)
    )


def _jest(found: dict[str, Any]) -> TestReport:
    tally = Tally(
        passed=count(found.get("numPassedTests")),
        failed=count(found.get("numFailedTests")),
        skipped=count(found.get("numPendingTests")) + count(found.get("numTodoTests")),
    )
    for suite in objects(found.get("testResults")):
        tests = list(objects(suite.get("assertionResults")))
        for test in tests:
            if test.get("status") == "failed":
                said = test.get("failureMessages")
                message = words(said[0]) if isinstance(said, list) and said else ""
                tally.name(words(test.get("fullName")) or words(test.get("title")), message)
        if not tests and suite.get("status") == "failed":
            # The file cannot be run at all: none of its tests is counted.
            tally.fail(words(suite.get("name")), words(suite.get("message")))
    return tally.report("jest")


def _mocha(found: dict[str, Any]) -> TestReport:
    stats = found["stats"]
    tally = Tally(
        passed=count(stats.get("passes")),
        failed=count(stats.get("failures")),
        skipped=count(stats.get("pending")),
    )
    for test in objects(found.get("failures")):
        tally.name(words(test.get("fullTitle")), words(within(test, "err", "message")))
    return tally.report("mocha")


def _printed(text: str) -> TestReport:
    tally = Tally()
    names: dict[str, None] = {}
    known = False
    for line in lines(text):
        if match := _FAILED.match(line):
            names[match["name"]] = None
        elif line.startswith(NO_TESTS):
            known = True
        elif match := _SUMMARY.match(line):
            known = True
            for part in match["counts"].split(", "):
                if counted := _COUNT.match(part):
                    _add(tally, counted["what"], number(counted["number"]))
    if not known:
        raise Unreadable("it has neither a JSON report nor a summary of jest's")
    if tally.failed:
        for name in list(names)[: tally.failed]:
            tally.name(name)
    return tally.report("jest")


def _add(tally: Tally, what: str, many: int) -> None:
    if what == "passed":
        tally.passed += many
    elif what == "failed":
        tally.failed += many
    elif what in ("skipped", "todo"):
        tally.skipped += many
