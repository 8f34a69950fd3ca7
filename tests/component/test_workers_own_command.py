"""Work by the project's own command: real executables that read the bead and report."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from loom.domain.bead import Attempt
from loom.domain.evidence import FailureClass, Step, StepKind, SubBead, TestFailure, TestReport
from loom.domain.project import Project
from loom.domain.rules import Rules
from loom.errors import Invalid
from loom.rpc.generate import ROOT
from loom.testing.bench import FolderBench, bench
from workers.ways import credentials
from workers.ways.command import Command
from workers.ways.way import WorkFailed

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WORKS = """\
import json, os, sys
from pathlib import Path
bead = json.loads(Path(os.environ["LOOM_BEAD_FILE"]).read_text())
Path("seen.json").write_text(json.dumps(
    {"bead": bead, "argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}))
Path(os.environ["LOOM_REPORT_FILE"]).write_text(json.dumps(bead["context"].get("report", {})))
sys.exit(bead["context"].get("exit", 0))
"""
NESTED = "[" * 40 + "]" * 40
FAILURES = (TestFailure("test_sum", "1 + 1 != 3"),)
PREVIOUS = Attempt(
    bead_id="bd-1", epoch=1, agent_id="a", outcome="failed", claimed_at=NOW, lease_until=NOW,
    failure_class=FailureClass.WORK, reason="a test fails", output="the end",
    steps=(
        Step("test", ("make",), 2, 1.0, tests=TestReport("junit", 1, 0, 1, 0, failures=FAILURES)),
    ),
)  # fmt: skip


def script(code: str, *arguments: str) -> tuple[str, ...]:
    return (
        sys.executable,
        "-I",
        "-S",
        "-c",
        code.replace("{", "{{").replace("}", "}}"),
        *arguments,
    )


def worked(
    folder: Path, command: tuple[str, ...], context: dict[str, Any] | None = None, **options: Any
) -> FolderBench:
    """The bench after the work."""
    ready = bench(folder, context or {}, command=command, **options)
    Command().check(ready.bead.context, ready.project)
    Command().work(ready)
    return ready


def failure(folder: Path, command: tuple[str, ...], **context: Any) -> WorkFailed:
    with pytest.raises(WorkFailed) as failed:
        worked(folder, command, context)
    return failed.value


def writes(report: str) -> tuple[str, ...]:
    """A command that changes a file and writes this for a report."""
    code = "import os, sys; open('new', 'w'); open(os.environ['LOOM_REPORT_FILE'], 'w').write("
    return script(f"{code}{report!r})")


def test_a_command_gets_the_bead_and_reports_back(tmp_path: Path) -> None:
    report = {
        "notes": "Read the sum again.", "commit_message": "Mend it", "outcome": "done",
        "sub_beads": [{"title": "Mend the product", "priority": 0, "context": {"x": [1]}}],
    }  # fmt: skip
    command = script(WORKS, "--bead={bead_file}", "{project_id}/{bead_id}", "{{}}", "{checkout}")
    ready = worked(
        tmp_path, command, {"report": report, "hint": "é"},
        previous=PREVIOUS, attempt=2, credentials={"VENDOR_KEY": "k"},
    )  # fmt: skip

    seen = json.loads((ready.checkout / "seen.json").read_text())
    bead, given = seen["bead"], seen["env"]
    assert seen["argv"] == [
        f"--bead={given['LOOM_BEAD_FILE']}", "demo/bd-1", "{}", str(ready.checkout),
    ]  # fmt: skip
    assert Path(given["LOOM_BEAD_FILE"]).is_relative_to(ready.exchange)
    assert bead == {
        "version": 1, "id": "bd-1", "project": "demo", "title": "Mend the sum",
        "description": "It is off by one.", "context": {"report": report, "hint": "é"},
        "priority": 2, "attempt": 2, "epoch": 1, "correlation_id": "corr-1",
        "idempotency_key": "loom-bd-1", "checkout": str(ready.checkout),
        "report_file": given["LOOM_REPORT_FILE"],
        "previous_attempt": {
            "epoch": 1, "outcome": "failed", "failure_class": "work", "reason": "a test fails",
            "failing_tests": [{"name": "test_sum", "message": "1 + 1 != 3"}], "output": "the end",
        },
    }  # fmt: skip
    assert {name: value for name, value in given.items() if name.startswith(("LOOM", "VEN"))} == {
        "LOOM_BEAD_ID": "bd-1", "LOOM_PROJECT_ID": "demo",
        "LOOM_BEAD_FILE": given["LOOM_BEAD_FILE"], "LOOM_REPORT_FILE": bead["report_file"],
        "LOOM_CHECKOUT": str(ready.checkout), "LOOM_IDEMPOTENCY_KEY": "loom-bd-1",
        "VENDOR_KEY": "k",
    }  # fmt: skip
    assert ready.notes == ["Read the sum again."]
    assert ready.commit_message == "Mend it"
    assert ready.sub_beads == [SubBead("Mend the product", "", {"x": [1]}, 0)]
    assert [(step.name, step.kind) for step in ready.steps] == [("command", StepKind.WORK)]


@pytest.mark.parametrize("command", [script("open('new', 'w')"), writes(""), writes("{}")])
def test_a_report_may_be_left_out(tmp_path: Path, command: tuple[str, ...]) -> None:
    ready = worked(tmp_path, command)
    assert (ready.changed(), ready.notes, ready.commit_message) == (["new"], [], None)


def test_a_command_that_changed_nothing_has_to_say_that_nothing_was_to_change(
    tmp_path: Path,
) -> None:
    failed = failure(tmp_path / "1", ("true",))
    assert failed.failure_class is FailureClass.WORK
    assert "ended well and changed nothing" in failed.reason

    says = script(
        "import os; open(os.environ['LOOM_REPORT_FILE'], 'w').write('{\"outcome\": \"no_change\"}')"
    )
    assert worked(tmp_path / "2", says).changed() == []
    failed = failure(tmp_path / "3", writes('{"outcome": "no_change"}'))
    assert failed.reason == "the command reports no_change, but the checkout did change: new"


def test_a_command_may_report_that_it_failed(tmp_path: Path) -> None:
    report = {"outcome": "failed", "reason": "the sum is right", "notes": "See RFC 1."}
    ready = bench(tmp_path, {"report": report}, command=script(WORKS))
    with pytest.raises(WorkFailed, match="reports that it failed: the sum is right") as failed:
        Command().work(ready)
    assert failed.value.failure_class is FailureClass.WORK
    assert ready.notes == ["See RFC 1."]


@pytest.mark.parametrize(
    ("exit_code", "failure_class"), [(1, FailureClass.WORK), (75, FailureClass.INFRA)]
)
def test_a_command_that_fails_is_asked_for_its_reason(
    tmp_path: Path, exit_code: int, failure_class: FailureClass
) -> None:
    report = {"reason": "the vendor is away", "notes": "n"}
    failed = failure(tmp_path, script(WORKS), report=report, exit=exit_code)
    assert failed.failure_class is failure_class
    assert failed.reason == f"the command ended with exit code {exit_code}, " + (
        "saying: the vendor is away"
    )


@pytest.mark.parametrize(
    ("command", "failure_class", "words"),
    [
        (script("import sys; print('out of ideas'); sys.exit(2)"), "work", "code 2: out of ideas"),
        (("no-such-agent",), "work", "cannot run 'no-such-agent'"),
        (writes("{"), "work", "report cannot be read: report: Invalid JSON"),
        (writes("[]"), "work", "report cannot be read: report: has to be an object"),
        (writes('{"note": "x"}'), "work", "report.note: nobody knows this field"),
        (writes('{"notes": 1}'), "work", "report.notes: Input should be a valid string"),
        (writes('{"outcome": "ok"}'), "work", "report.outcome: Input should be 'done', 'failed'"),
        (writes('{"sub_beads": [{"title": ""}]}'), "work", "report.sub_beads.0.title: has to be"),
        (
            writes('{"sub_beads": [{"title": "x", "context": {"a": ["\\u0000"]}}]}'),
            "work", "report.sub_beads.0.context: holds NUL",
        ),
        (
            writes('{"sub_beads": [{"title": "x", "context": {"a": ' + NESTED + "}}]}"),
            "work", "report.sub_beads.0.context: has more than 28 objects and lists",
        ),
        (writes('{"notes": "' + "x" * 20_000 + '"}'), "work", "report.notes: String should have"),
        (writes('{"notes": "\\u0000\\ud800"}'), "work", "report: Invalid JSON"),
        (
            script("import os; open(os.environ['LOOM_REPORT_FILE'], 'w').write(' ' * 300_000)"),
            "work", "'report.json' is larger than 262144 bytes",
        ),
        (
            script("import os; os.symlink('/etc/passwd', os.environ['LOOM_REPORT_FILE'])"),
            "work", "'report.json' is a symbolic link",
        ),
        (
            script("import os; os.mkfifo(os.environ['LOOM_REPORT_FILE'])"),
            "work", "'report.json' is a special file",
        ),
        (
            script("import os; os.mkdir(os.environ['LOOM_REPORT_FILE'])"),
            "work", "'report.json' is a folder",
        ),
    ],
)  # fmt: skip
def test_a_command_that_goes_wrong_ends_readably(
    tmp_path: Path, command: tuple[str, ...], failure_class: str, words: str
) -> None:
    failed = failure(tmp_path, command)
    assert failed.failure_class == failure_class
    assert words in failed.reason
    assert len(failed.reason) < 2_000


def test_what_an_earlier_command_left_in_the_exchange_is_not_written_through(
    tmp_path: Path,
) -> None:
    ready = bench(tmp_path, {}, command=script("open('new', 'w')"))
    (tmp_path / "secret").write_text("s")
    for name in ("bead.json", "report.json"):
        (ready.exchange / name).symlink_to(tmp_path / "secret")
    Command().work(ready)
    assert (tmp_path / "secret").read_text() == "s"


def test_a_bead_names_no_command_and_the_project_has_to() -> None:
    project = Project("demo", "/srv/demo.git", rules=Rules(command=("true",)))
    with pytest.raises(Invalid, match="said by the project alone"):
        Command().check({"command": ["sh", "-c", "env"]}, project)
    with pytest.raises(Invalid, match="the project demo has no command"):
        Command().check({}, replace(project, rules=Rules()))
    with pytest.raises(Invalid, match="placeholder that nobody knows"):
        Command().check({}, replace(project, rules=Rules(command=("true", "{home}"))))


VENDOR = """\
#!{python}
import sys
assert sys.argv[1:-1] == ["--print", "--yes"], sys.argv
assert "Mend the sum" in sys.argv[-1] and "test_sum: 1 + 1 != 3" in sys.argv[-1], sys.argv
open("sum", "w").write("1 + 1 = 2\\n")
print("I mended the sum.")
"""


def test_the_documented_wrapper_drives_a_coding_agent(tmp_path: Path) -> None:
    vendor = tmp_path / "bin/vendor-agent"
    vendor.parent.mkdir()
    vendor.write_text(VENDOR.format(python=sys.executable))
    vendor.chmod(0o755)
    wrapper = ROOT / "docs/examples/coding_agent.py"
    command = (sys.executable, str(wrapper), str(vendor), "--print", "--yes")

    ready = worked(tmp_path / "bench", command, previous=PREVIOUS, files={"sum": "1 + 1 = 3\n"})

    assert ready.changed() == ["sum"]
    assert ready.notes == ["I mended the sum.\n"]
    assert ready.commit_message == "Mend the sum"


def test_credentials_come_from_a_file_that_its_owner_alone_reads(tmp_path: Path) -> None:
    file = tmp_path / "command.env"
    assert credentials.read(file) == {}

    file.write_text("# the vendor's\nVENDOR_KEY=a$b c\nexport OTHER='x=y'\n")
    file.chmod(0o600)
    assert credentials.read(file) == {"VENDOR_KEY": "a$b c", "OTHER": "x=y"}
    file.chmod(0o640)
    with pytest.raises(Invalid, match=f"chmod 600 {file}"):
        credentials.read(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hush\n", "line 1 is not NAME=value"),
        ("A=b\na b=hush\n", "line 2 is not"),
        ("LOOM_X=hush\n", "LOOM_X"),
        ("A='hush\n", "line 1 is not"),
        ("A=hush\0\n", "line 1 is"),
    ],
)
def test_credentials_that_cannot_be_used_are_told_without_a_value(
    tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "command.env"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(Invalid, match=words) as refused:
        credentials.read(file)
    assert "hush" not in refused.value.detail
