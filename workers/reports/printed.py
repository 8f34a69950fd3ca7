"""What a test command printed of its tests, where nothing says by which tool: make's, tox's, …"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from loom.domain.evidence import TestReport
from workers.reports import (
    cargo_text,
    jest_json,
    mocha_text,
    pytest_text,
    tap,
    unittest_text,
)
from workers.reports.tally import Unreadable, lines, merged

_TOOLS: tuple[tuple[re.Pattern[str], Callable[[str], TestReport]], ...] = (
    (re.compile(r"=+ .{1,300} in [0-9.]{1,20}s.{0,40} =+$"), pytest_text.parse),
    (re.compile(r"Ran [0-9]{1,9} tests? in [0-9.]{1,20}s$"), unittest_text.parse),
    (re.compile(r" {0,4}[0-9]{1,9} passing \([0-9]{1,9}(?:ms|s|m|h)\)$"), mocha_text.parse),
    (re.compile(r"Tests: {1,9}[0-9].{0,200} total$"), jest_json.parse),
    (re.compile(r"test result: (?:ok|FAILED)\. "), cargo_text.parse),
    (re.compile(r"TAP version 1[2-4]$"), tap.parse),
)
"""A line that only that tool writes, and what reads its output."""


def parse(text: str) -> TestReport | None:
    """The tests of every tool that can be told by its own line, together; None where none can."""
    found = list(_reports(text))
    return merged(found) if found else None


def _reports(text: str) -> Iterator[TestReport]:
    wanted = dict(_TOOLS)
    for line in lines(text):
        for pattern in [pattern for pattern in wanted if pattern.match(line)]:
            del wanted[pattern]
        if not wanted:
            break
    for pattern, read in _TOOLS:
        if pattern not in wanted:
            try:
                yield read(text)
            except Unreadable:
                continue
