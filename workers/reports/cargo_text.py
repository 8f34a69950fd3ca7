"""What `cargo test` prints: for each test binary and the doc tests, its tests and its result."""

from __future__ import annotations

import re

from loom.domain.evidence import TestReport
from workers.reports.tally import Tally, Unreadable, lines, number

_RUNNING = re.compile(r"^running (?P<count>[0-9]{1,9}) tests?$")
_RESULT = re.compile(
    r"^test result: (?:ok|FAILED)\. (?P<passed>[0-9]{1,9}) passed; (?P<failed>[0-9]{1,9}) failed; "
    r"(?P<ignored>[0-9]{1,9}) ignored"
)
_FAILED = re.compile(r"^test (?P<name>.+) \.\.\. FAILED$")
_SAID = re.compile(r"^---- (?P<name>.+) stdout ----$")
_BINARY = re.compile(r"^ +(?:Running|Doc-tests) (?P<name>.+)$")
_ERROR = re.compile(r"^error(?:\[E[0-9]{4}\])?: (?P<words>.+)$")
KEPT_LINES = 20


def parse(text: str) -> TestReport:
    """The tests of all binaries. Raises Unreadable."""
    reading = _Reading()
    for line in lines(text):
        reading.take(line)
    return reading.report()


class _Reading:
    def __init__(self) -> None:
        self.tally = Tally()
        self.results = 0
        self.running = False
        self.binary = ""
        self.names: list[str] = []
        self.said: dict[str, list[str]] = {}
        self.saying = ""
        self.error = ""

    def take(self, line: str) -> None:
        if match := _BINARY.match(line):
            self._broken_off()
            self.binary = match["name"]
        elif _RUNNING.match(line):
            self._broken_off()
            self.running, self.names, self.said, self.saying = True, [], {}, ""
        elif match := _RESULT.match(line):
            self._end(*(number(match[name]) for name in ("passed", "failed", "ignored")))
        elif match := _FAILED.match(line):
            self.names.append(match["name"])
        elif match := _SAID.match(line):
            self.saying = match["name"]
        elif line in ("failures:", "successes:"):
            self.saying = ""
        elif self.saying:
            said = self.said.setdefault(self.saying, [])
            if line.strip() and len(said) < KEPT_LINES:
                said.append(line)
        elif not self.running and not self.error and (match := _ERROR.match(line)):
            self.error = match["words"]

    def _end(self, passed: int, failed: int, ignored: int) -> None:
        self.running = False
        self.results += 1
        self.tally.passed += passed
        self.tally.failed += failed
        self.tally.skipped += ignored
        for name in self.names[:failed]:
            self.tally.name(name, "\n".join(self.said.get(name, ())))

    def _broken_off(self) -> None:
        """A binary that began and gave no result has crashed."""
        if self.running:
            self.tally.fail(self.binary, "it ended in the midst of its tests")
            self.running = False

    def report(self) -> TestReport:
        self._broken_off()
        if not self.results and not self.tally.failed:
            why = f": {self.error[:500]}" if self.error else ""
            raise Unreadable(f"it has no result of `cargo test`{why}")
        return self.tally.report("cargo")
