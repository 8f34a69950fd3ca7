"""What linters print a line a finding: flake8, mypy, tsc, and ruff's concise form."""

from __future__ import annotations

import re
from collections.abc import Iterator

from loom.domain.evidence import Finding
from workers.reports.tally import Unreadable, lines, number

_PLACE = r"^(?P<file>[^\s:][^:\n]{0,500}):(?P<line>[0-9]{1,9}):(?:[0-9]{1,9}:)?"
_FLAKE8 = re.compile(_PLACE + r" (?P<rule>[A-Z]{1,8}[0-9]{1,6}):? (?:\[\*\] )?(?P<message>.*)$")
_MYPY = re.compile(_PLACE + r" error: (?P<message>.*?)(?:  \[(?P<rule>[a-z0-9-]{1,60})\])?$")
_MYPY_WHOLE = re.compile(r"^(?P<file>[^\s:][^:\n]{0,500}): error: (?P<message>.*)$")
_MYPY_END = re.compile(r"^(?:Success: no issues found|Found [0-9]+ errors?)")
_TSC = re.compile(
    r"^(?P<file>[^\s(][^(\n]{0,500})\((?P<line>[0-9]{1,9}),[0-9]{1,9}\): "
    r"error (?P<rule>TS[0-9]{1,6}): (?P<message>.*)$"
)
_TSC_PRETTY = re.compile(
    _PLACE.removesuffix("(?:[0-9]{1,9}:)?")
    + (r"[0-9]{1,9} - error (?P<rule>TS[0-9]{1,6}): (?P<message>.*)$")
)
_TSC_WHOLE = re.compile(r"^error (?P<rule>TS[0-9]{1,6}): (?P<message>.*)$")


def flake8(text: str) -> Iterator[Finding]:
    """What flake8 found."""
    yield from _matching("flake8", text, _FLAKE8)


def ruff(text: str) -> Iterator[Finding]:
    """What ruff found, in its concise form. Raises Unreadable."""
    known = "All checks passed!" in text
    for found in _matching("ruff", text, _FLAKE8):
        known = True
        yield found
    if not known:
        raise Unreadable("it has neither ruff's JSON nor a finding in its concise form")


def mypy(text: str) -> Iterator[Finding]:
    """What mypy found. Raises Unreadable."""
    known = False
    for found in _matching("mypy", text, _MYPY, _MYPY_WHOLE):
        known = True
        yield found
    if not known and not any(map(_MYPY_END.match, lines(text))):
        raise Unreadable("it has neither an error nor an end of mypy's")


def tsc(text: str) -> Iterator[Finding]:
    """What the TypeScript compiler found."""
    yield from _matching("tsc", text, _TSC, _TSC_PRETTY, _TSC_WHOLE)


def _matching(tool: str, text: str, *forms: re.Pattern[str]) -> Iterator[Finding]:
    for line in lines(text):
        match = next(filter(None, (form.match(line) for form in forms)), None)
        if match:
            part = match.groupdict()
            yield Finding(
                tool,
                part.get("file") or "",
                number(part.get("line") or ""),
                part.get("rule") or "",
                part.get("message") or "",
            )
