"""`loom project` and `loom bead`, over the real API in this process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result
from control_api import PROJECT, TOKEN, Api, finish
from structlog.testing import capture_logs

from loom.cli import cli
from loom.cli.profile import Profile
from loom.domain.bead import Bead
from loom.domain.evidence import (
    Artifact,
    Commit,
    FailureClass,
    Finding,
    Outcome,
    Step,
    StepKind,
    TestFailure,
    TestReport,
)
from loom.errors import Unavailable
from loom.testing.ledger import FakeLedger


class Shell:
    """The command line with a profile of its own."""

    def __init__(self, api: Api, token: str = TOKEN) -> None:
        self.api = api
        self.profile = Profile("http://loom", token, httpx.WSGITransport(api.app))

    def run(self, *words: str, input: bytes | None = None) -> Result:
        # The API runs in this process, and its log would stand in the command's output.
        with capture_logs():
            return CliRunner().invoke(cli, words, obj=self.profile, input=input)

    def document(self, *words: str) -> dict[str, object]:
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.output
        return dict(json.loads(result.stdout))


@pytest.fixture
def shell() -> Shell:
    """A shell over a Loom with one project."""
    api = Api()
    api.post("/api/v1/projects", PROJECT)
    return Shell(api)


def attempted(*, passes: bool) -> Outcome:
    """An attempt that ran its tests, and nothing else."""
    step = Step("test", ("make", "a b"), 0 if passes else 2, 0.5, "first\nlast [words]\n")
    return Outcome(
        succeeded=passes, steps=(step,), failure_class=None if passes else FailureClass.WORK,
        reason="" if passes else "the test fails",
    )  # fmt: skip


class Looks(httpx.BaseTransport):
    """The way to a Loom whose one bead moves on each time that somebody asks for it over HTTP:
    claimed, then at its end. What the API asks the ledger for itself counts as no look.
    """

    def __init__(self, end: Outcome, ledger: FakeLedger | None = None) -> None:
        self.api = Api(ledger or FakeLedger())
        self.api.post("/api/v1/projects", PROJECT)
        self.bead_id = self.api.file()["id"]
        self.end = end
        self.looks = 0
        self._way = httpx.WSGITransport(self.api.app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == f"/api/v1/beads/{self.bead_id}":
            self.looks += 1
            self.look()
        return self._way.handle_request(request)

    def look(self) -> None:
        if self.looks == 2:
            self.api.ledger.claim_bead(self.bead_id, 1, "agent-shop")
        if self.looks == 3:
            finish(self.api.ledger, self.bead_id, self.end)

    def shell(self) -> Shell:
        shell = Shell(self.api)
        shell.profile = Profile("http://loom", TOKEN, self)
        return shell


def test_a_project_is_added_and_shown(shell: Shell, tmp_path: Path) -> None:
    added = shell.document(
        "project", "add", "mine", str(tmp_path), "--test", "python3 -m unittest -q", "--branch", "b"
    )

    assert added["repository"] == str(tmp_path)
    assert added["test_command"] == ["python3", "-m", "unittest", "-q"]
    assert shell.document("project", "show", "mine") == added
    assert [p["id"] for p in shell.document("project", "list")["projects"]] == ["mine", "shop"]
    text = shell.run("project", "list").output
    assert "python3 -m unittest -q" in text


def test_a_folder_is_added_by_its_whole_path(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "repo").mkdir()
    monkeypatch.chdir(tmp_path)

    assert shell.document("project", "add", "mine", "repo")["repository"] == str(tmp_path / "repo")


def test_a_bead_is_filed_with_all_that_is_given(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "mend.diff").write_bytes(b"--- a/x\r\n+++ b/x\r\n")

    filed = shell.document(
        "bead", "file", "shop", "--title", "Mend it", "--description", "At length", "--patch",
        str(tmp_path / "mend.diff"), "--test", "make 'a b'", "--context", '{"hint": [1]}',
        "--timeout", "9", "--priority", "0", "--id", "mine-1",
    )  # fmt: skip

    assert (filed["id"], filed["priority"], filed["description"]) == ("mine-1", 0, "At length")
    assert filed["context"] == {
        "hint": [1],
        "patch": "--- a/x\r\n+++ b/x\r\n",
        "test_command": ["make", "a b"],
        "timeout_s": 9,
    }


def test_a_patch_can_come_from_standard_input(shell: Shell) -> None:
    result = shell.run(
        "bead", "file", "shop", "--title", "x", "--patch", "-", "--json", input=b"--- a\n"
    )

    assert json.loads(result.stdout)["context"] == {"patch": "--- a\n"}


def test_beads_are_listed_and_filtered(shell: Shell) -> None:
    for number in range(3):
        shell.document("bead", "file", "shop", "--title", f"Bead [{number}]")

    page = shell.document("bead", "list", "--project", "shop", "--limit", "2")
    assert [bead["title"] for bead in page["beads"]] == ["Bead [2]", "Bead [1]"]
    rest = shell.document("bead", "list", "--limit", "2", "--cursor", str(page["next_cursor"]))
    assert [bead["title"] for bead in rest["beads"]] == ["Bead [0]"]
    assert shell.document("bead", "list", "--state", "closed")["beads"] == []
    assert "Bead [1]" in shell.run("bead", "list").output


def test_a_bead_and_its_attempts_are_shown_with_their_proof(shell: Shell) -> None:
    bead_id = str(shell.document("bead", "file", "shop", "--title", "Mend it")["id"])
    commits = (Commit("c" * 40, "agent/x"),)
    finish(shell.api.ledger, bead_id, replace(attempted(passes=False), commits=commits))

    shown = shell.run("bead", "show", bead_id).output
    tried = shell.run("bead", "attempts", bead_id).output

    assert "the test fails" in shown
    assert "make 'a b'" in tried
    assert "last [words]" in tried
    attempt = shell.document("bead", "attempts", bead_id)["attempts"][0]
    assert attempt["steps"][0]["exit_code"] == 2


def test_the_evidence_of_a_bead_is_shown_in_words_and_whole_as_json(shell: Shell) -> None:
    bead_id = str(shell.document("bead", "file", "shop", "--title", "Mend it")["id"])
    failures = tuple(TestFailure(f"t.test_{i}", f"\x1b[31m{i} is [wrong]\nat x") for i in range(12))
    steps = (
        Step(
            "ruff", ("ruff", "check"), 1, 0.2, kind=StepKind.LINT, advisory=True,
            findings=(Finding("ruff", "a.py", 3, "F401", "unused"), Finding("x", "b.py", 0, "")),
        ),
        Step(
            "unit", ("pytest",), 1, 2.5, "the output", StepKind.TEST,
            tests=TestReport("junit", 26, 12, 13, 1, failures),
        ),
        Step("more", ("t",), 0, 0.1, kind=StepKind.TEST, tests=TestReport("tap", 0, 0, 0, 0)),
    )  # fmt: skip
    outcome = replace(
        attempted(passes=False), steps=steps, failure_class=FailureClass.NO_TESTS,
        artifacts=(Artifact("dist/a.whl", "a" * 64, 12),), notes="Read this.",
    )  # fmt: skip
    finish(shell.api.ledger, bead_id, outcome)

    shown = shell.run("bead", "show", bead_id).output

    for words in (
        "failed (no_tests)", "lint, advisory", "12 passed, 13 failed, 1 skipped", "none found",
        "t.test_0: ", "0 is [wrong]\n", "… and 3 more", "a.py:3 F401 unused", "  b.py\n",
        "dist/a.whl (12 bytes, aaaaaaaaaaaa)", "Notes:\nRead this.",
    ):  # fmt: skip
        assert words in shown
    assert "t.test_10" not in shown
    assert "\x1b" not in shown
    whole = shell.document("bead", "show", bead_id)["attempts"][0]
    assert len(whole["steps"][1]["tests"]["failures"]) == 12
    assert whole["notes"] == "Read this."


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("passes", "exit_code", "word"), [(True, 0, "succeeded"), (False, 1, "failed")]
)
def test_waiting_for_a_bead_ends_as_the_bead_ends(passes: bool, exit_code: int, word: str) -> None:
    looks = Looks(attempted(passes=passes))

    result = looks.shell().run("bead", "show", looks.bead_id, "--wait")

    assert result.exit_code == exit_code
    said = [line.split()[-1] for line in result.stderr.splitlines()]
    assert said == ["open", "in_progress", word]


@pytest.mark.usefixtures("clock")
def test_waiting_outlives_a_ledger_that_is_away_for_a_moment() -> None:
    class Restarting(FakeLedger):
        away = 0

        def get_bead(self, bead_id: str) -> Bead:
            if self.away:
                self.away -= 1
                raise Unavailable("it restarts")
            return super().get_bead(bead_id)

    class Interrupted(Looks):
        def look(self) -> None:
            if self.looks == 2:
                ledger.away = 2
            if self.looks == 4:
                finish(ledger, self.bead_id, self.end)

    ledger = Restarting()
    looks = Interrupted(attempted(passes=True), ledger)

    result = looks.shell().run("bead", "show", looks.bead_id, "--wait")

    assert result.exit_code == 0, result.stderr
    assert (looks.looks, ledger.away) == (4, 0)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("bead", "show", "none"), 3, "there is no bead none"),
        (("bead", "attempts", "none"), 3, "there is no bead none"),
        (("bead", "list", "--project", "none"), 3, "there is no project none"),
        (("bead", "file", "none", "--title", "x"), 3, "there is no project none"),
        (("bead", "file", "shop", "--title", ""), 1, "title: has to say something"),
        (("bead", "file", "shop", "--title", "a\nb", "--id", "X"), 1, "id: 'X' is not a bead id"),
        (("project", "add", "Bad", "/x"), 1, "not a project id"),
        (("project", "add", "shop", "/x"), 1, "exists"),
        (("bead", "file", "shop"), 2, "--title"),
        (("bead", "file", "shop", "--title", "x", "--context", "{"), 2, "not JSON"),
        (("bead", "file", "shop", "--title", "x", "--context", "[]"), 2, "not a JSON object"),
        (("bead", "file", "shop", "--title", "x", "--test", "'"), 2, "quotation"),
        (("bead", "file", "shop", "--title", "x", "--patch", "/none"), 2, "/none"),
        (("bead", "file", "shop", "--title", "x", "--priority", "4"), 2, "priority"),
        (("bead", "list", "--state", "done"), 2, "done"),
        (("nothing",), 2, "No such command"),
    ],
)
def test_what_goes_wrong_is_said_in_words_with_an_exit_code(
    steady: Api, words: tuple[str, ...], code: int, said: str
) -> None:
    result = Shell(steady).run(*words)

    assert (result.exit_code, said in result.stderr) == (code, True), result.output
    assert "Traceback" not in result.output


def test_a_wrong_token_is_said_in_words(shell: Shell) -> None:
    result = Shell(shell.api, token="wrong").run("bead", "list")

    assert result.exit_code == 4
    assert "loom token show" in result.stderr


def test_a_loom_that_is_not_there_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    profile = Profile("http://loom", "x", httpx.MockTransport(refuse))
    result = CliRunner().invoke(cli, ["bead", "list"], obj=profile)

    assert result.exit_code == 5
    assert "nothing answers at http://loom" in result.stderr


def test_a_stranger_who_answers_is_not_taken_for_loom() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(500, text="<html>"))
    result = CliRunner().invoke(cli, ["bead", "list"], obj=Profile("http://x", "t", transport))

    assert result.exit_code == 1
    assert "is this Loom's control plane" in result.stderr


def test_the_help_needs_no_command_to_be_loaded() -> None:
    result = CliRunner().invoke(cli, ["--help"])

    assert result.exit_code == 0
    for command in ("up", "down", "status", "logs", "doctor", "token", "project", "bead", "demo"):
        assert f"\n  {command} " in result.output


def test_without_a_stack_the_way_out_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOOM_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("LOOM_URL", raising=False)

    result = CliRunner().invoke(cli, ["bead", "list"])

    assert result.exit_code == 3
    assert "Run `loom up`" in result.stderr


def test_half_a_profile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("LOOM_TOKEN", raising=False)

    result = CliRunner().invoke(cli, ["bead", "list"])

    assert (result.exit_code, "LOOM_TOKEN" in result.stderr) == (1, True)


def test_the_local_stack_is_found_from_a_folder_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, below = tmp_path / ".loom", tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (home / "secrets").mkdir(parents=True)
    (home / "stack.json").write_text('{"port_base": 25100}')
    (home / "secrets" / "api-token").write_text("secret\n")
    monkeypatch.chdir(below)
    for name in ("LOOM_HOME", "LOOM_URL", "LOOM_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    result = CliRunner().invoke(cli, ["bead", "list"])

    assert "http://127.0.0.1:25100" in result.stderr
