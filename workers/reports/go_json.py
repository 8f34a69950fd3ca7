"""What `go test -json` writes: an event a line. Subtests count, as `go test -v` tells of them.

Source: https://pkg.go.dev/cmd/test2json
"""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from loom.domain.evidence import TestReport
from workers.reports.tally import JSON_CHARS, Tally, Unreadable, whole_lines, words

KEPT_LINES, KEPT_CHARS = 20, 300
MAX_RUNNING = 5_000
"""Tests that have begun and not ended, whose output is kept."""
ENDS = frozenset({"pass", "fail", "skip"})
Key = tuple[str, str]


def parse(text: str) -> TestReport:
    """The tests of all packages. Raises Unreadable."""
    reading = _Reading()
    for line in whole_lines(text, JSON_CHARS):
        if not line.startswith("{"):
            continue
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            reading.take(event)
    return reading.report()


class _Reading:
    def __init__(self) -> None:
        self.tally = Tally()
        self.said: dict[Key, deque[str]] = {}
        """What those said that have not ended; under the name '' the package itself."""
        self.failing: set[str] = set()
        """Packages with a failed test."""
        self.packages = 0
        self.builds: dict[str, deque[str]] = {}

    def take(self, event: dict[str, Any]) -> None:
        action, package = words(event.get("Action")), words(event.get("Package"))
        if action.startswith("build-"):
            self._keep(self.builds, words(event.get("ImportPath")), words(event.get("Output")))
            return
        if not package:
            return
        key = (package, words(event.get("Test")))
        if action in ENDS:
            if key[1]:
                self._test(key, action)
            else:
                self._package(package, action, words(event.get("FailedBuild")))
        elif action in ("run", "start", "output"):
            self._keep(self.said, key, words(event.get("Output")))

    def _keep(self, place: dict[Any, deque[str]], key: Any, output: str) -> None:
        if key not in place and len(place) >= MAX_RUNNING:
            return
        kept = place.setdefault(key, deque(maxlen=KEPT_LINES))
        if output.strip() and not output.lstrip().startswith(("=== ", "--- PASS", "PASS", "ok  ")):
            kept.append(output[:KEPT_CHARS].rstrip())

    def _test(self, key: Key, action: str) -> None:
        said = self.said.pop(key, ())
        if action == "fail":
            self.failing.add(key[0])
            self.tally.fail(f"{key[0]}.{key[1]}", "\n".join(said))
        elif action == "skip":
            self.tally.skipped += 1
        else:
            self.tally.passed += 1

    def _package(self, package: str, action: str, failed_build: str) -> None:
        self.packages += 1
        said = self.said.pop((package, ""), ())
        left = [key for key in self.said if key[0] == package]
        for key in left:
            # It had begun when the package came to its end: a panic, or a time limit.
            self.failing.add(package)
            self.tally.fail(f"{package}.{key[1]}", "\n".join(self.said.pop(key)))
        if action == "fail" and package not in self.failing:
            self.tally.fail(package, "\n".join([*self.builds.get(failed_build, ()), *said]))

    def report(self) -> TestReport:
        if not self.packages and not self.said and not self.tally.failed + self.tally.passed:
            raise Unreadable("it has no event of `go test -json`")
        for package, test in list(self.said):
            if test:
                self.tally.fail(f"{package}.{test}", "the output ends before the test did")
        return self.tally.report("go")
