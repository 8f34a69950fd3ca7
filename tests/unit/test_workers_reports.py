"""What test tools and linters report, read from real outputs of theirs and from hostile ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loom.domain.evidence import MAX_FAILURES, TestReport
from workers.reports import junit, printed
from workers.reports.reading import FINDINGS, TESTS
from workers.reports.tally import NAME_CHARS, Unreadable

REPORTS = Path(__file__).parent / "reports"


def kept(name: str) -> str:
    return (REPORTS / name).read_text()


def counts(report: TestReport) -> tuple[int, int, int, int]:
    return report.total, report.passed, report.failed, report.skipped


def names(report: TestReport) -> list[str]:
    return [failure.name for failure in report.failures]


@pytest.mark.parametrize(
    ("form", "file", "expected"),
    [
        ("pytest", "pytest.txt", (11, 3, 6, 2)),
        ("pytest", "pytest-none.txt", (0, 0, 0, 0)),
        ("junit", "pytest.xml", (10, 2, 6, 2)),
        ("unittest", "unittest.txt", (8, 1, 5, 2)),
        ("unittest", "unittest-none.txt", (0, 0, 0, 0)),
        ("go", "go.jsonl", (9, 3, 5, 1)),
        ("cargo", "cargo.txt", (8, 5, 2, 1)),
        ("tap", "node.tap", (8, 4, 2, 2)),
        ("tap", "mocha.tap", (3, 1, 1, 1)),
        ("jest", "jest.json", (5, 1, 2, 2)),
        ("jest", "jest-printed.txt", (4, 1, 1, 2)),
        ("jest", "vitest.json", (3, 1, 1, 1)),
        ("jest", "mocha.json", (3, 1, 1, 1)),
        ("mocha", "mocha.txt", (4, 1, 2, 1)),
        ("junit", "vitest.xml", (3, 1, 1, 1)),
        ("junit", "jest-junit.xml", (4, 2, 1, 1)),
    ],
)
def test_a_real_report_is_counted(
    form: str, file: str, expected: tuple[int, int, int, int]
) -> None:
    assert counts(TESTS[form](kept(file))) == expected


@pytest.mark.parametrize(
    ("form", "file", "name", "message"),
    [
        ("pytest", "pytest.txt", "test_sums.py::test_fails", "AssertionError: sums are wrong"),
        ("pytest", "pytest.txt", "test_sums.py::test_error", "RuntimeError: no fixture"),
        ("junit", "pytest.xml", "test_sums.test_each[2]", "assert 2 == 1"),
        ("unittest", "unittest.txt", "test_bad (test_uni.T.test_bad)", "AssertionError: 3 != 4"),
        ("unittest", "unittest.txt", "setUpClass (test_uni.S)", "OSError: no class"),
        ("go", "go.jsonl", "example.com/sums.TestTable/1", "one is wrong"),
        ("go", "go.jsonl", "example.com/sums/bad", 'cannot use "x"'),
        ("go", "go.jsonl", "example.com/sums/crash.TestP", "panic: crashed"),
        ("cargo", "cargo.txt", "tests::fails", "sums are wrong"),
        ("tap", "node.tap", "fails in it", "inner"),
        ("tap", "mocha.tap", "sums fails", "1 == 2"),
        ("jest", "jest.json", "sums fails", "Expected: 3"),
        ("jest", "jest.json", "/checkout/broken.test.js", "Test suite failed to run"),
        ("jest", "mocha.json", "sums fails", "1 == 2"),
        ("mocha", "mocha.txt", "stands alone", "Error: no"),
        ("mocha", "mocha.txt", "Sums deep subtracts: well", "1 == 2"),
        ("junit", "vitest.xml", "v.spec.mjs.fails", "expected 2 to be 3"),
        ("junit", "jest-junit.xml", "sums fails", "Expected: 3"),
    ],
)
def test_a_test_that_failed_is_named_with_what_it_said(
    form: str, file: str, name: str, message: str
) -> None:
    said = {failure.name: failure.message for failure in TESTS[form](kept(file)).failures}
    assert message in said[name]


def test_a_test_binary_of_cargo_that_crashes_has_failed() -> None:
    report = TESTS["cargo"](kept("cargo.txt"))
    assert any(name.startswith("tests/crash.rs") for name in names(report))


@pytest.mark.parametrize(
    ("form", "file", "expected"),
    [
        ("ruff", "ruff.json", [("/checkout/lint.py", 1, "I001"), ("/checkout/lint.py", 1, "F401"),
                               ("/checkout/lint.py", 4, "F821")]),
        ("ruff", "ruff.txt", [("lint.py", 1, "I001"), ("lint.py", 1, "F401"),
                              ("lint.py", 4, "F821")]),
        ("flake8", "flake8.txt", [("lint.py", 1, "F401"), ("lint.py", 2, "E225"),
                                  ("lint.py", 3, "E302"), ("lint.py", 4, "F821")]),
        ("mypy", "mypy.txt", [("typed.py", 2, "return-value")]),
        ("eslint", "eslint.json", [("/checkout/lint.js", 2, "eqeqeq"),
                                   ("/checkout/lint.js", 2, "no-undef")]),
        ("clippy", "clippy.jsonl", [("src/lib.rs", 8, "clippy::needless_return")]),
        ("tsc", "tsc.txt", [("t.ts", 1, "TS2322"), ("t.ts", 2, "TS2304")]),
    ],
)  # fmt: skip
def test_what_a_linter_really_finds_is_read(
    form: str, file: str, expected: list[tuple[str, int, str]]
) -> None:
    found = list(FINDINGS[form](kept(file)))
    assert [(each.file, each.line, each.rule) for each in found] == expected
    assert all(each.tool == form and each.message for each in found)


def test_golangci_lint_is_read_with_a_summary_after_it() -> None:
    document = {"Issues": [{"FromLinter": "errcheck", "Text": "not checked",
                            "Pos": {"Filename": "a.go", "Line": 7}}]}  # fmt: skip
    [found] = FINDINGS["golangci-lint"](json.dumps(document) + "\n1 issues:\n* errcheck: 1\n")
    assert (found.file, found.line, found.rule, found.message) == (
        "a.go", 7, "errcheck", "not checked",
    )  # fmt: skip


def test_json_is_found_behind_what_a_script_said_before_it() -> None:
    text = "\n> shop@1.0.0 lint\n> eslint -f json .\n\n{ not json\n" + kept("eslint.json")
    assert len(list(FINDINGS["eslint"](text))) == 2


# Dialects of JUnit XML.


def junit_counts(document: str) -> tuple[int, int, int, int]:
    return counts(junit.parse(document.encode()))


def test_surefire_counts_a_flaky_test_as_passed_and_a_rerun_one_as_failed_once() -> None:
    document = """<?xml version="1.0"?>
    <testsuite xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" name="ShopTest" tests="4"
               errors="0" skipped="1" failures="1" flakes="1">
      <properties><property name="user.dir" value="/checkout"/></properties>
      <testcase name="adds" classname="ShopTest" time="0.1"/>
      <testcase name="flaky" classname="ShopTest"><flakyFailure message="once">x</flakyFailure>
      </testcase>
      <testcase name="fails" classname="ShopTest"><failure message="no" type="E">at A</failure>
        <rerunFailure message="no again">at A</rerunFailure></testcase>
      <testcase name="later" classname="ShopTest"><skipped message="later"/></testcase>
    </testsuite>"""
    assert junit_counts(document) == (4, 2, 1, 1)


def test_suites_may_stand_within_suites() -> None:
    document = """<testsuites><testsuite name="a" tests="2" errors="1" failures="0">
      <testsuite name="b" tests="2" errors="1" failures="0"><testcase name="x"><error/></testcase>
      <testcase name="y"/></testsuite></testsuite></testsuites>"""
    assert junit_counts(document) == (2, 1, 1, 0)


def test_an_error_of_a_suite_itself_has_failed() -> None:
    document = "<testsuite name='S' tests='0'><error message='no class'/></testsuite>"
    report = junit.parse(document.encode())
    assert (counts(report), names(report)) == ((1, 0, 1, 0), ["S"])


def test_failures_that_only_the_suite_counts_are_not_lost() -> None:
    report = junit.parse(b"<testsuite tests='3' failures='2'><testcase name='a'/></testsuite>")
    assert counts(report) == (3, 1, 2, 0)
    assert "2 failures that no test case has" in report.failures[0].message


def test_an_empty_suite_has_no_tests() -> None:
    assert junit_counts("<testsuites/>") == (0, 0, 0, 0)


BILLION_LAUGHS = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "lol">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><testsuite name="&b;"/>"""
OUTSIDE = b"""<!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuite name="&x;"/>"""


@pytest.mark.parametrize(
    "document",
    [
        BILLION_LAUGHS, OUTSIDE, b"", b"<testsuite>", b"<html/>", b"<testsuite>" * 200, b"\xff\xfe",
        b'<?xml version="1.0" encoding="nonsense"?><testsuite/>', b"<testsuite>\0</testsuite>",
    ],
)  # fmt: skip
def test_what_is_no_harmless_report_is_refused_with_words(document: bytes) -> None:
    with pytest.raises(Unreadable, match=r"\w+"):
        junit.parse(document)


def test_a_report_of_very_many_failures_names_some_and_counts_all() -> None:
    cases = "".join(
        f"<testcase name='{'n' * 9_000}{i}'><failure>{'x' * 9_000}</failure></testcase>"
        for i in range(500)
    )
    report = junit.parse(f"<testsuite>{cases}</testsuite>".encode())
    assert counts(report) == (500, 0, 500, 0)
    assert len(report.failures) == MAX_FAILURES
    assert len(report.failures[0].name) == NAME_CHARS


# Dialects of texts.


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("============ 3 passed in 0.12s ============", (3, 3, 0, 0)),
        ("3 passed, 1 warning in 0.12s", (3, 3, 0, 0)),
        ("== 1 failed, 2 xpassed, 1 rerun in 61.00s (0:01:01) ==", (3, 2, 1, 0)),
        ("====== no tests ran in 0.01s ======", (0, 0, 0, 0)),
        ("=== no tests collected, 1 error in 0.09s ===", (1, 0, 1, 0)),
        (
            "\x1b[32m===== \x1b[32m\x1b[1m2 passed\x1b[0m\x1b[32m in 0.01s\x1b[0m =====",
            (2, 2, 0, 0),
        ),
    ],
)
def test_summaries_of_pytest_are_counted(line: str, expected: tuple[int, int, int, int]) -> None:
    assert counts(TESTS["pytest"](f"collected\n{line}\n")) == expected


def test_the_last_summary_of_pytest_is_its_own_and_not_one_that_a_test_printed() -> None:
    text = "=== 9 passed in 0.1s ===\n=== short test summary info ===\nFAILED a::b - no\n"
    report = TESTS["pytest"](f"{text}=== 1 failed in 0.2s ===\n")
    assert (counts(report), names(report)) == ((1, 0, 1, 0), ["a::b"])


def test_runs_of_unittest_are_counted_together() -> None:
    text = "Ran 2 tests in 0.1s\n\nOK\nRan 3 tests in 0.2s\n\nOK (skipped=1)\n"
    assert counts(TESTS["unittest"](text)) == (5, 4, 0, 1)


def test_nothing_of_unittest_is_no_tests_in_newer_pythons_too() -> None:
    assert counts(TESTS["unittest"]("Ran 0 tests in 0.0s\n\nNO TESTS RAN\n")) == (0, 0, 0, 0)


def test_runs_of_mocha_are_counted_together() -> None:
    once = kept("mocha.txt")

    assert counts(TESTS["mocha"](once + once)) == (8, 2, 4, 2)


@pytest.mark.parametrize(
    ("file", "form", "total"),
    [
        ("pytest.txt", "pytest", 11),
        ("unittest.txt", "unittest", 8),
        ("unittest-none.txt", "unittest", 0),
        ("mocha.txt", "mocha", 4),
        ("jest-printed.txt", "jest", 4),
        ("cargo.txt", "cargo", 8),
        ("node.tap", "tap", 8),
    ],
)
def test_a_tool_is_told_by_the_lines_that_only_it_writes(file: str, form: str, total: int) -> None:
    report = printed.parse(f"cc -o sums sums.c\n{kept(file)}\nall done\n")

    assert report is not None
    assert (report.format, report.total) == (form, total)


def test_several_tools_count_together() -> None:
    report = printed.parse(kept("unittest.txt") + kept("mocha.txt"))

    assert report is not None
    assert counts(report) == (12, 2, 7, 3)


@pytest.mark.parametrize("text", ["", "ok\n", "3 passing\n", "ok 1 - a\n1..1\n", "2 passed\n"])
def test_words_that_any_tool_may_write_tell_of_no_tests(text: str) -> None:
    assert printed.parse(text) is None


def test_a_go_test_that_never_ended_has_failed() -> None:
    events = [
        {"Action": "run", "Package": "p", "Test": "TestA"},
        {"Action": "output", "Package": "p", "Test": "TestA", "Output": "waiting\n"},
    ]
    report = TESTS["go"]("\n".join(map(json.dumps, events)))
    assert (counts(report), names(report)) == ((1, 0, 1, 0), ["p.TestA"])


def test_packages_of_go_without_tests_have_none() -> None:
    event = {"Action": "skip", "Package": "p", "Elapsed": 0}
    assert counts(TESTS["go"](json.dumps(event))) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ("TAP version 14\n1..2\nok 1 - a\nok 2 - b # SKIP no\n", (2, 1, 0, 1)),
        ("1..2\nok 1\nnot ok 2 # TODO one day\n", (2, 1, 0, 1)),
        ("1..0 # skip nothing here\n", (0, 0, 0, 0)),
        ("1..3\nok 1\n", (3, 1, 2, 0)),
        ("1..1\nok 1\nok 2\n", (3, 2, 1, 0)),
        ("ok 1\nok 2\n", (3, 2, 1, 0)),
        ("1..2\nok 1\nBail out! no disk\n", (2, 1, 1, 0)),
        ("1..1\n    ok 1 - x\n    not ok 2 - y\n    1..2\nnot ok 1 - both\n", (2, 1, 1, 0)),
        ("1..1\n    ok 1 - x\n    1..2\nnot ok 1 - too few\n", (2, 1, 1, 0)),
        ("1..1\nok 1 - a \\# not a directive # b\n", (1, 1, 0, 0)),
    ],
)
def test_streams_of_tap_are_counted(stream: str, expected: tuple[int, int, int, int]) -> None:
    assert counts(TESTS["tap"](stream)) == expected


def test_what_a_point_of_tap_says_on_lines_of_its_own_is_told() -> None:
    stream = (
        "TAP version 13\nnot ok 1 adds\n  ---\n    operator: equal\n    expected: |-\n      'a'\n"
        "    actual: |-\n      'b'\n      'c'\n    at: t.js\n"
        "    stack: |-\n      Error: no\n  ...\n"
        "not ok 2 \n  ---\n    actual: >\n  ...\n1..2\n"
    )

    failures = TESTS["tap"](stream).failures

    assert [(failure.name, failure.message) for failure in failures] == [
        ("adds", "'a'\n'b'\n'c'"),
        ("test 2", ""),
    ]


def test_what_cargo_could_not_compile_is_told() -> None:
    with pytest.raises(Unreadable, match="mismatched types"):
        TESTS["cargo"]("   Compiling shop\nerror[E0308]: mismatched types\n")


def test_a_jest_without_tests_found_none() -> None:
    assert counts(TESTS["jest"]("No tests found, exiting with code 1\n")) == (0, 0, 0, 0)


# Anything at all.

PIECES = [line for file in sorted(REPORTS.iterdir()) for line in file.read_text().split("\n")[:60]]
ANYTHING = st.one_of(
    st.text(max_size=400),
    st.binary(max_size=400).map(lambda raw: raw.decode(errors="replace")),
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=30)), max_size=25).map("\n".join),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from([
            "stats", "numTotalTests", "testResults", "assertionResults", "failures", "Issues",
            "Pos", "reason", "message", "spans", "location", "messages", "status", "Action",
            "Package", "Test", "Output", "err", "failureMessages", "line", "code", "level",
            "is_primary",
        ]),
        inner, max_size=6,
    ),
    max_leaves=20,
)  # fmt: skip


def check(form: str, text: str) -> None:
    try:
        if form in TESTS:
            report = TESTS[form](text)
            assert report.total == report.passed + report.failed + report.skipped
            assert min(counts(report)) >= 0
            assert bool(report.failures) == bool(report.failed)
        else:
            for found in FINDINGS[form](text):
                assert found.line >= 0
    except Unreadable as error:
        assert str(error)


# Each example is given to all, since to make it takes longer than to read it.


@settings(max_examples=100)
@given(text=ANYTHING)
def test_no_text_is_more_than_unreadable(text: str) -> None:
    for form in (*TESTS, *FINDINGS):
        check(form, text)


@settings(max_examples=100)
@given(value=VALUES)
def test_no_json_is_more_than_unreadable(value: object) -> None:
    for form in ("jest", "go", "ruff", "eslint", "golangci-lint", "clippy"):
        check(form, json.dumps(value))


@pytest.mark.parametrize("form", ["jest", "eslint", "ruff", "golangci-lint", "clippy", "go"])
def test_json_that_is_nested_without_end_is_unreadable(form: str) -> None:
    check(form, "[" * 100_000 + "]" * 100_000)
    check(form, '{"a":' * 100_000)


@pytest.mark.parametrize("form", [*TESTS, *FINDINGS])
@pytest.mark.parametrize(
    "piece", ["\n", "x", " ", "{", "[", "=", "\x1b[", "a:1:1: A1 b\n", "ok 1\n"]
)
def test_much_of_one_thing_is_read_without_end_of_time_or_memory(form: str, piece: str) -> None:
    check(form, piece * (20_000 // len(piece)))


def test_a_case_with_very_many_parts_is_one_case() -> None:
    parts = b"<skipped/>" * 5_000 + b"<a/>" * 5_000 + b"<failure message='no'/>"
    assert counts(junit.parse(b"<testsuite><testcase>" + parts + b"</testcase></testsuite>")) == (
        1, 0, 1, 0,
    )  # fmt: skip
