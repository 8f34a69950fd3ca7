"""The Test Anything Protocol, versions 12 to 14, and what node, mocha and tape add to it.

A test point with points of its own counts by those. Of a plan, what is missing and what is beside
it has failed. Source: https://testanything.org/tap-version-14-specification.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from loom.domain.evidence import TestReport
from workers.reports.tally import LINE_CHARS, Tally, Unreadable, lines, number

_POINT = re.compile(r"^(?P<indent> *)(?P<ok>not ok|ok)\b(?: +(?P<number>[0-9]{1,9}))?(?P<rest>.*)$")
_PLAN = re.compile(r"^(?P<indent> *)1\.\.(?P<count>[0-9]{1,9})(?:\s*#.*)?$")
_DIRECTIVE = re.compile(r"(?<!\\)# *(?P<what>skip|todo)", re.IGNORECASE)
_BAIL = re.compile(r"^ *Bail out!(?P<why>.*)$")
_TOLD = re.compile(
    r"^# (?P<what>tests|pass|fail|cancelled|skip|skipped|todo) +(?P<count>[0-9]{1,9})$"
)
_SAID = re.compile(r"^(?P<indent> *)(?:message|error|actual|expected): *(?P<words>\S.*)$")
_SCALAR = re.compile(r"^[|>][+-]?$")
"""What YAML has in place of a text that follows on lines of its own, further in."""
INDENT = 4
KEPT_LINES = 6


@dataclass(slots=True)
class _Level:
    """The points of one indentation since its parent's last. within: of those below, unclaimed."""

    seen: int = 0
    plan: int | None = None
    leaves: int = 0
    failed: int = 0


@dataclass(slots=True)
class _Reading:
    tally: Tally = field(default_factory=Tally)
    levels: dict[int, _Level] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)
    failing: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    in_block: bool = False
    scalar: int | None = None
    """How far in the key stands whose text is being read."""
    bailed: bool = False

    def level(self, depth: int) -> _Level:
        return self.levels.setdefault(depth, _Level())

    def take(self, line: str) -> None:
        if self.in_block or line.strip() == "---":
            self._block(line)
        elif match := _POINT.match(line):
            self._point(match)
        elif match := _PLAN.match(line):
            self.level(len(match["indent"]) // INDENT).plan = number(match["count"])
        elif match := _BAIL.match(line):
            self._tell()
            self.bailed = True
            self.tally.fail("Bail out!", match["why"])
        elif match := _TOLD.match(line):
            self.told[match["what"]] = number(match["count"])
        elif self.failing and line.startswith("  ") and len(self.said) < KEPT_LINES:
            self.said.append(line.strip())

    def _block(self, line: str) -> None:
        if line.strip() in ("---", "..."):
            self.in_block = not self.in_block
            self.scalar = None
            return
        if self.scalar is not None and len(line) - len(line.lstrip()) > self.scalar:
            self._say(line.strip())
            return
        self.scalar = None
        if match := _SAID.match(line):
            if _SCALAR.match(match["words"]):
                self.scalar = len(match["indent"])
            else:
                self._say(match["words"])

    def _say(self, words: str) -> None:
        if self.failing and len(self.said) < KEPT_LINES:
            self.said.append(words)

    def _point(self, match: re.Match[str]) -> None:
        self._tell()
        depth = len(match["indent"]) // INDENT
        below = self.levels.pop(depth + 1, None)
        for deeper in [each for each in self.levels if each > depth]:
            del self.levels[deeper]
        here = self.level(depth)
        here.seen += 1
        rest = match["rest"]
        directive = _DIRECTIVE.search(rest)
        what = directive["what"].lower() if directive else ""
        name = (rest[: directive.start()] if directive else rest).strip().removeprefix("-").strip()
        failed = match["ok"] == "not ok" and what != "todo"
        if below and below.leaves:
            here.leaves += below.leaves
            here.failed += below.failed
            if below.plan is not None and below.plan > below.seen:
                failed = True
            if not failed or below.failed:
                return
        here.leaves += 1
        if failed and what != "skip":
            here.failed += 1
            self.tally.failed += 1
            self.failing = [name or f"test {match['number'] or here.seen}"]
        elif what == "skip" or (what == "todo" and match["ok"] == "not ok"):
            self.tally.skipped += 1
        else:
            self.tally.passed += 1

    def _tell(self) -> None:
        """Name the failed point, now that all it said was read."""
        if self.failing:
            self.tally.name(self.failing[0], "\n".join(self.said))
        self.failing, self.said = [], []

    def report(self) -> TestReport:
        self._tell()
        top = self.levels.get(0)
        if top is None and not self.bailed:
            raise Unreadable("it has neither a plan nor a test point of TAP")
        if top is not None and not self.bailed:
            self._check(top)
        self._agree()
        return self.tally.report("tap")

    def _check(self, top: _Level) -> None:
        if top.plan is None:
            self.tally.fail("(plan)", "it has no plan: it did not come to its end")
        elif top.plan != top.seen:
            for _ in range(min(abs(top.plan - top.seen), 1)):
                self.tally.fail("(plan)", f"{top.plan} tests were planned, and {top.seen} ran")
            self.tally.failed += max(0, top.plan - top.seen - 1)

    def _agree(self) -> None:
        """Count as the tool did where it tells, but never fewer failures than there are points."""
        if not {"tests", "pass"} <= self.told.keys():
            return
        failed = max(self.tally.failed, self.told.get("fail", 0) + self.told.get("cancelled", 0))
        skipped = sum(self.told.get(what, 0) for what in ("skip", "skipped", "todo"))
        counted = self.tally.passed + self.tally.failed + self.tally.skipped
        # mocha leaves those out that it skips, and node counts tests that have tests of their own.
        total = max(self.told["tests"], counted, failed)
        self.tally.failed = failed
        self.tally.skipped = min(max(skipped, self.tally.skipped), total - failed)
        self.tally.passed = total - failed - self.tally.skipped


def parse(text: str) -> TestReport:
    """The tests in a stream. Raises Unreadable."""
    reading = _Reading()
    for line in lines(text):
        if len(line) < LINE_CHARS:
            reading.take(line)
    return reading.report()
