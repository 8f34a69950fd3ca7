"""JUnit XML, as pytest, Surefire, Gradle, jest-junit, vitest and many others write it.

There is no one schema: only `testcase` and what stands in it is relied upon, and the counts that
suites tell of themselves where they tell of more failures than their cases do. Entities are
refused, and the tree is let go of as it is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse

from loom.domain.evidence import TestReport
from workers.reports.tally import Tally, Unreadable, number

FAILED = ("failure", "error")
SUITES = ("testsuites", "testsuite")
MAX_DEPTH = 100


def parse(document: bytes) -> TestReport:
    """The tests in a document. Raises Unreadable."""
    reading = _Reading()
    try:
        for event, element in iterparse(BytesIO(document), ("start", "end"), forbid_dtd=True):
            if event == "start":
                reading.start(element)
            else:
                reading.end(element)
    except DefusedXmlException as error:
        raise Unreadable(f"it declares what no report needs: {type(error).__name__}") from error
    except (ParseError, LookupError, ValueError) as error:
        # LookupError: of an encoding that nobody knows.
        raise Unreadable(f"it is no whole XML: {error}") from error
    return reading.report()


@dataclass(slots=True)
class _Case:
    """What became of a test case, as far as it was read. failed: what the first failure said."""

    failed: str | None = None
    skipped: bool = False


class _Reading:
    def __init__(self) -> None:
        self.tally = Tally()
        self.path: list[Element] = []
        self.cases: list[_Case] = []
        """Those that are being read; one within another is none of any tool's."""
        self.told = 0
        """Failures that the outermost suites tell of."""
        self.in_suite = 0

    def start(self, element: Element) -> None:
        if len(self.path) >= MAX_DEPTH:
            raise Unreadable(f"it is nested more than {MAX_DEPTH} deep")
        tag = _tag(element)
        if not self.path and tag not in SUITES:
            raise Unreadable(f"its root is {tag[:80]!r}, not testsuites or testsuite")
        if tag == "testsuite":
            if not self.in_suite:
                told = (number(element.get(name, "")) for name in ("failures", "errors"))
                self.told += sum(told)
            self.in_suite += 1
        elif tag == "testcase":
            self.cases.append(_Case())
        self.path.append(element)

    def end(self, element: Element) -> None:
        self.path.pop()
        tag = _tag(element)
        inside = self.path[-1] if self.path else None
        if tag == "testsuite":
            self.in_suite -= 1
        elif tag == "testcase":
            self._count(element, self.cases.pop())
        elif inside is not None and _tag(inside) == "testcase":
            # rerunFailure, flakyFailure and their like tell of tries before the one that counted.
            case = self.cases[-1]
            if tag in FAILED and case.failed is None:
                case.failed = _message(element)
            case.skipped = case.skipped or tag == "skipped"
        elif tag in FAILED and inside is not None and _tag(inside) in SUITES:
            self.tally.fail(inside.get("name", ""), _message(element))
        if inside is not None:
            element.clear()
            inside.remove(element)

    def _count(self, element: Element, case: _Case) -> None:
        if case.failed is not None:
            self.tally.fail(_name(element), case.failed)
        elif case.skipped:
            self.tally.skipped += 1
        else:
            self.tally.passed += 1

    def report(self) -> TestReport:
        surplus = self.told - self.tally.failed
        if surplus > 0:
            self.tally.failed += surplus
            self.tally.name("", f"a suite tells of {surplus} failures that no test case has")
        return self.tally.report("junit")


def _tag(element: Element) -> str:
    """The name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def _name(case: Element) -> str:
    name, group = case.get("name", ""), case.get("classname", "")
    if not group or name.startswith(group):
        return name
    return f"{group}.{name}" if name else group


def _message(failed: Element) -> str:
    return failed.get("message", "") or "".join(failed.itertext())[:8_000]
