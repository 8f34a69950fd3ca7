"""Reading what a step reported: from its output, and from the files that it wrote itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from loom.domain.evidence import MAX_FINDINGS, Step, StepKind, found_no_tests
from loom.domain.recipe import RecipeStep
from workers.reports import reading
from workers.reports.files import Mark, Place
from workers.reports.reading import Reading

PASSED = "<testsuite><testcase name='a'/></testsuite>"
FAILED = "<testsuite><testcase name='b'><failure message='no'/></testcase></testsuite>"


@dataclass
class Bench:
    checkout: Path
    exchange: Path

    def step(self, *reports: str, output: str = "", kind: StepKind = StepKind.TEST) -> RecipeStep:
        return RecipeStep(kind, "unit", ("t",), output=output, reports=reports)

    def before(self, step: RecipeStep) -> Mapping[Place, Mark]:
        return reading.before(step, self.checkout, self.exchange)

    def read(
        self, step: RecipeStep, output: Path | str = "",
        there: Mapping[Place, Mark] | None = None, exit_code: int = 0,
    ) -> Reading:  # fmt: skip
        return reading.read(
            step, output, self.checkout, self.exchange, there or {}, exit_code=exit_code
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path / "checkout", tmp_path / "exchange")
    made.checkout.mkdir()
    made.exchange.mkdir()
    return made


def test_the_files_that_match_are_read_together(bench: Bench) -> None:
    for name, content in (("a", PASSED), ("b", FAILED)):
        folder = bench.checkout / name / "target" / "surefire-reports"
        folder.mkdir(parents=True)
        (folder / "TEST-x.xml").write_text(content)
    read = bench.read(bench.step("**/target/surefire-reports/TEST-*.xml"))
    assert read.tests is not None
    assert (read.tests.total, read.tests.failed, read.faults) == (2, 1, ())


def test_a_report_that_lay_there_before_proves_nothing(bench: Bench) -> None:
    step = bench.step("report.xml")
    (bench.checkout / "report.xml").write_text(PASSED)
    there = bench.before(step)
    read = bench.read(step, there=there)
    assert read.tests is None
    assert read.faults == ("1 report files are from before the step, and prove nothing",)


def test_a_report_that_is_written_anew_is_read_even_if_it_says_the_same(bench: Bench) -> None:
    step = bench.step("report.xml")
    file = bench.checkout / "report.xml"
    file.write_text(PASSED)
    there = bench.before(step)
    file.unlink()
    file.write_text(PASSED)
    os.utime(file, ns=(1, 1))
    read = bench.read(step, there=there)
    assert read.tests is not None
    assert read.tests.total == 1


def test_a_report_in_the_exchange_is_named_by_its_whole_path(bench: Bench) -> None:
    (bench.exchange / "out.xml").write_text(PASSED)
    step = bench.step("$LOOM_EXCHANGE/out.xml").at(str(bench.exchange))
    read = bench.read(step)
    assert read.tests is not None
    assert read.tests.total == 1


@pytest.mark.parametrize("pattern", ["../outside.xml", "/etc/passwd", "a/../../outside.xml", ""])
def test_reports_elsewhere_are_refused(bench: Bench, pattern: str) -> None:
    (bench.checkout.parent / "outside.xml").write_text(PASSED)
    read = bench.read(bench.step(pattern))
    assert read.tests is None
    assert "not below the checkout" in read.faults[0]


def test_no_link_and_no_pipe_is_followed(bench: Bench) -> None:
    outside = bench.checkout.parent / "outside"
    outside.mkdir()
    (outside / "report.xml").write_text(PASSED)
    (bench.checkout / "report.xml").symlink_to(outside / "report.xml")
    (bench.checkout / "folder").symlink_to(outside)
    os.mkfifo(bench.checkout / "pipe.xml")
    read = bench.read(bench.step("report.xml", "folder/*.xml", "pipe.xml"))
    assert read.tests is None
    assert read.faults == ("it wrote no report: report.xml, folder/*.xml, pipe.xml",)


def test_a_broken_report_is_told_and_the_others_count(bench: Bench) -> None:
    (bench.checkout / "a.xml").write_text("<testsuite>")
    (bench.checkout / "b.xml").write_text(PASSED)
    read = bench.read(bench.step("*.xml"))
    assert read.tests is not None
    assert read.tests.total == 1
    assert "the report 'a.xml' is not read: it is no whole XML" in read.faults[0]


def test_a_report_that_is_too_large_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_FILE_BYTES", 10)
    (bench.checkout / "a.xml").write_text(PASSED)
    assert "larger than 10 bytes" in bench.read(bench.step("a.xml")).faults[0]


@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("out.json", '{"numTotalTests": 1, "numPassedTests": 1}', "jest"),
        ("out.tap", "TAP version 14\n1..1\nok 1\n", "tap"),
        ("out", "\ufeff" + PASSED, "junit"),
    ],
)
def test_the_format_of_a_file_shows_in_the_file(
    bench: Bench, name: str, content: str, form: str
) -> None:
    (bench.checkout / name).write_text(content)
    read = bench.read(bench.step(name))
    assert read.tests is not None
    assert (read.tests.format, read.tests.total) == (form, 1)


def test_an_output_is_read_where_there_is_no_report(bench: Bench) -> None:
    log = bench.exchange.parent / "log.txt"
    log.write_bytes(b"\xff\n== 2 passed in 0.1s ==\n")
    read = bench.read(bench.step("out.xml", output="pytest"), log)
    assert read.tests is not None
    assert (read.tests.format, read.tests.total, read.faults) == ("pytest", 2, ())


def test_of_output_and_report_the_one_with_more_failures_counts(bench: Bench) -> None:
    (bench.checkout / "out.xml").write_text(PASSED)
    read = bench.read(bench.step("out.xml", output="pytest"), "== 3 failed in 0.1s ==\n")
    assert read.tests is not None
    assert (read.tests.format, read.tests.failed) == ("pytest", 3)
    assert "tells of 3 failed tests, its report of 0" in read.faults[0]


def test_an_output_of_another_kind_is_told(bench: Bench) -> None:
    read = bench.read(bench.step(output="pytest"), "usage: pytest\n", exit_code=4)
    assert read == Reading(
        None, (), ("its output is not read as pytest: it has no summary line of pytest's",)
    )


def test_the_output_of_a_test_command_tells_of_its_tests_though_nobody_said_its_format(
    bench: Bench,
) -> None:
    ended = "Ran 3 tests in 0.001s\n\nFAILED (failures=1)\n"

    read = bench.read(bench.step(), ended, exit_code=1)

    assert read.tests is not None
    assert (read.tests.format, read.tests.total, read.tests.failed) == ("unittest", 3, 1)
    assert bench.read(bench.step(), "it was fine\n", exit_code=0) == Reading()


def test_failures_in_an_output_of_unknown_format_are_not_counted_against_a_good_end(
    bench: Bench,
) -> None:
    read = bench.read(bench.step(), "== 1 failed, 2 passed in 0.1s ==\n", exit_code=0)

    assert read.tests is None
    assert read.faults == (
        "its output seems to tell of 1 failed tests, yet it ended well: it is not counted",
    )


def test_the_exit_code_alone_tells_that_pytest_found_no_test(bench: Bench) -> None:
    read = bench.read(bench.step(output="pytest"), "", exit_code=5)
    assert read.tests is not None
    assert (read.tests.total, read.faults) == (0, ())
    step = read.onto(Step("unit", ("pytest",), 5, 1.0, kind=StepKind.TEST))
    assert found_no_tests([step])


def test_findings_are_named_below_the_checkout_and_limited(bench: Bench) -> None:
    line = f"{bench.checkout}/./a/b.py:3:1: F401 {'x' * 3_000}\n"
    step = bench.step(output="flake8", kind=StepKind.LINT)
    read = bench.read(step, line * (MAX_FINDINGS + 5))
    assert len(read.findings) == MAX_FINDINGS
    assert read.findings[0].file == "a/b.py"
    assert len(read.findings[0].message) == reading.MESSAGE_CHARS
    assert read.faults == (f"{MAX_FINDINGS + 5} findings: the first {MAX_FINDINGS} are kept",)


def test_faults_stand_at_the_end_of_the_step_s_output(bench: Bench) -> None:
    read = bench.read(bench.step(output="cobol"), "text")
    step = read.onto(Step("unit", ("t",), 0, 1.0, "text"))
    assert step.output_tail == "text\n[loom: nobody here reads the format 'cobol']\n"


def test_an_output_that_cannot_be_read_is_told(bench: Bench) -> None:
    read = bench.read(bench.step(output="tap"), bench.exchange / "missing.txt")
    assert read.faults[0] == "its output cannot be read: No such file or directory"


def test_a_long_output_is_read_from_its_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_OUTPUT_BYTES", 40)
    log = bench.exchange / "log.txt"
    log.write_text("x" * 100 + "\n== 2 passed in 0.1s ==\n")
    read = bench.read(bench.step(output="pytest"), log)
    assert read.tests is not None
    assert read.tests.total == 2
    assert "the last 40 were read" in read.faults[0]


def test_of_very_many_lines_the_last_are_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_LINES", 2)
    read = bench.read(bench.step(output="tap"), "ok 1\nok 2\nok 3\n1..1\n")
    assert read.tests is not None
    assert (read.tests.total, read.tests.failed) == (1, 0)
    assert read.faults == ("its output has 4 lines: the last 2 were read",)
