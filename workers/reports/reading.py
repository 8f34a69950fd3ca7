"""Reads what a step's tool reported, from its output and from the files that it wrote.

Report files are believed only if the step wrote them: `before` is taken when it begins, so that a
report that lay in the repository proves nothing. What cannot be read is told, and raises nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loom.domain.evidence import MAX_FINDINGS, Finding, Step, StepKind, TestReport
from loom.domain.recipe import RecipeStep
from workers import beneath
from workers.reports import (
    cargo_text,
    go_json,
    jest_json,
    junit,
    lint_json,
    lint_lines,
    mocha_text,
    printed,
    pytest_text,
    tap,
    unittest_text,
)
from workers.reports.files import Files, Mark, Place
from workers.reports.tally import Unreadable, merged, shortened

MAX_FILE_BYTES = 16 * 1024**2
MAX_FILES_BYTES = 64 * 1024**2
MAX_OUTPUT_BYTES = 64 * 1024**2
MAX_LINES = 500_000
"""Of a text: what reads it takes up to ten microseconds for one."""
MAX_FAULTS = 20
PATH_CHARS, RULE_CHARS, MESSAGE_CHARS = 500, 100, 500
NO_TESTS_COLLECTED = 5
"""The exit code of pytest, and of unittest since Python 3.12, for nothing found."""

TESTS: Mapping[str, Callable[[str], TestReport]] = {
    "pytest": pytest_text.parse,
    "unittest": unittest_text.parse,
    "go": go_json.parse,
    "cargo": cargo_text.parse,
    "tap": tap.parse,
    "jest": jest_json.parse,
    "mocha": mocha_text.parse,
    "junit": lambda text: junit.parse(text[: MAX_FILE_BYTES + 1].encode(errors="replace")),
}
FINDINGS: Mapping[str, Callable[[str], Iterator[Finding]]] = {
    "ruff": lint_json.ruff,
    "flake8": lint_lines.flake8,
    "mypy": lint_lines.mypy,
    "eslint": lint_json.eslint,
    "golangci-lint": lint_json.golangci,
    "clippy": lint_json.clippy,
    "tsc": lint_lines.tsc,
}
FORMATS = (*TESTS, *FINDINGS)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read. tests: None where nothing told of tests. faults: what was not, in words."""

    tests: TestReport | None = None
    findings: tuple[Finding, ...] = ()
    faults: tuple[str, ...] = ()

    def onto(self, step: Step) -> Step:
        """The step with what was read of it; the faults stand at the end of its output."""
        told = "".join(f"[loom: {fault}]\n" for fault in self.faults)
        tail = step.output_tail
        if told and tail and not tail.endswith("\n"):
            tail += "\n"
        return replace(step, tests=self.tests, findings=self.findings, output_tail=f"{tail}{told}")


def before(step: RecipeStep, checkout: Path, exchange: Path) -> Mapping[Place, Mark]:
    """The report files that are there before the step begins."""
    files = Files(checkout, exchange)
    return {place: mark for place in files.matching(step.reports) if (mark := files.mark(place))}


def read(
    step: RecipeStep,
    output: Path | str,
    checkout: Path,
    exchange: Path,
    there: Mapping[Place, Mark],
    *,
    exit_code: int | None = None,
) -> Reading:
    """What the step reported, once none of its processes runs any more.

    step: as it ran (RecipeStep.at). output: the whole of it, or the file with it. there: what
    `before` gave.
    """
    faults: list[str] = []
    text = _text(output, faults)
    files = Files(checkout, exchange)
    told, reports = "", _from_files(step, files, there, faults)
    of_files = merged(reports) if reports else None
    of_output: TestReport | None = None
    findings: tuple[Finding, ...] = ()
    if step.output in TESTS:
        of_output, told = _tests(step.output, text, exit_code)
    elif step.output in FINDINGS:
        findings, told = _findings(step.output, text, checkout)
    elif step.output:
        told = f"nobody here reads the format {step.output[:80]!r}"
    elif step.kind is StepKind.TEST and not step.reports:
        of_output, told = _printed(text, exit_code)
    # Where a file tells it all, the output need not.
    if told and of_files is None:
        faults.append(told)
    return Reading(_both(of_files, of_output, faults), findings, _shortened(faults))


def _both(
    files: TestReport | None, output: TestReport | None, faults: list[str]
) -> TestReport | None:
    """What the files tell, which is more exact; but of two the one with more failures."""
    if files is None or output is None:
        return files or output
    if output.failed > files.failed:
        faults.append(
            f"its output tells of {output.failed} failed tests, its report of {files.failed}"
        )
        return output
    return files


def _tests(form: str, text: str, exit_code: int | None) -> tuple[TestReport | None, str]:
    try:
        return TESTS[form](text), ""
    except Unreadable as error:
        if exit_code == NO_TESTS_COLLECTED and form in ("pytest", "unittest"):
            return TestReport(form, 0, 0, 0, 0), ""
        return None, f"its output is not read as {form}: {error}"


def _printed(text: str, exit_code: int | None) -> tuple[TestReport | None, str]:
    """What an output tells that nobody said the format of: no proof that the command is wrong."""
    report = printed.parse(text)
    if report is not None and report.failed and exit_code == 0:
        return None, (
            f"its output seems to tell of {report.failed} failed tests, yet it ended well: "
            "it is not counted"
        )
    return report, ""


def _findings(form: str, text: str, checkout: Path) -> tuple[tuple[Finding, ...], str]:
    kept: list[Finding] = []
    count = 0
    try:
        for finding in FINDINGS[form](text):
            count += 1
            if count <= MAX_FINDINGS:
                kept.append(_tidy(finding, checkout))
    except Unreadable as error:
        return tuple(kept), f"its output is not read as {form}: {error}"
    more = f"{count} findings: the first {MAX_FINDINGS} are kept"
    return tuple(kept), more if count > MAX_FINDINGS else ""


def _tidy(finding: Finding, checkout: Path) -> Finding:
    """Its file as it is named below the checkout's root, and its words cut."""
    file = finding.file
    if file.startswith("/"):
        root = f"{os.path.normpath(checkout)}/"
        file = os.path.normpath(file).removeprefix(root)
    return Finding(
        finding.tool,
        shortened(file.removeprefix("./"), PATH_CHARS),
        finding.line,
        shortened(finding.rule, RULE_CHARS),
        shortened(finding.message.strip(), MESSAGE_CHARS),
    )


def _text(output: Path | str, faults: list[str]) -> str:
    if isinstance(output, str):
        return _last_lines(output[-MAX_OUTPUT_BYTES:], faults)
    try:
        with beneath.opened(output.parent, output.name) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAX_OUTPUT_BYTES:
                faults.append(f"its output has {size} bytes: the last {MAX_OUTPUT_BYTES} were read")
                file.seek(size - MAX_OUTPUT_BYTES)
            text = file.read(MAX_OUTPUT_BYTES).decode(errors="replace")
    except OSError as error:
        faults.append(f"its output cannot be read: {error.strerror or error}")
        return ""
    return _last_lines(text, faults)


def _last_lines(text: str, faults: list[str]) -> str:
    lines = text.count("\n")
    if lines <= MAX_LINES:
        return text
    faults.append(f"its output has {lines} lines: the last {MAX_LINES} were read")
    at = len(text) - text.endswith("\n")
    for _ in range(MAX_LINES):
        at = text.rfind("\n", 0, at)
    return text[at + 1 :]


def _from_files(
    step: RecipeStep, files: Files, there: Mapping[Place, Mark], faults: list[str]
) -> list[TestReport]:
    """The reports that the step wrote."""
    found: list[TestReport] = []
    stale, left = 0, MAX_FILES_BYTES
    for place in files.matching(step.reports, faults):
        if there.get(place) == files.mark(place):
            stale += 1
            continue
        try:
            content = files.content(place, min(MAX_FILE_BYTES, left))
            left -= len(content)
            found.append(_file(content))
        except Unreadable as error:
            faults.append(f"the report {place[1]!a} is not read: {error}")
        except OSError as error:
            faults.append(f"the report {place[1]!a} cannot be read: {error.strerror or error}")
    if stale:
        faults.append(f"{stale} report files are from before the step, and prove nothing")
    if step.kind is StepKind.TEST and step.reports and not found and not stale and not step.output:
        faults.append(f"it wrote no report: {', '.join(step.reports)[:500]}")
    return found


def _file(content: bytes) -> TestReport:
    """The report in a file, whose format shows in its first character."""
    begin = content[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if begin == b"<" or content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return junit.parse(content)
    text = content.decode(errors="replace")
    if begin in (b"{", b"["):
        return jest_json.parse(text)
    if text.count("\n") > MAX_LINES:
        raise Unreadable(f"it has more than {MAX_LINES} lines")
    return tap.parse(text)


def _shortened(faults: Sequence[str]) -> tuple[str, ...]:
    if len(faults) <= MAX_FAULTS:
        return tuple(faults)
    return (*faults[:MAX_FAULTS], f"and {len(faults) - MAX_FAULTS} more of the kind")
