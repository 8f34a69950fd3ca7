"""Runs, queues, profiles and completion: how a command of `loom` ends, and for which Loom."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from control_api import PROJECT, TOKEN, Api
from test_cli_commands import Looks, Shell, attempted

from loom.cli import cli, profile, profiles
from loom.cli.profile import Profile
from loom.control.app import create_app
from loom.domain.audit import Intervention
from loom.domain.reconciliation import Depth
from loom.messaging.deadletter import DeadLetter
from loom.rpc.callers import digest
from loom.settings import ControlSettings


@pytest.fixture
def shell() -> Shell:
    """A shell over a Loom with one project."""
    api = Api()
    api.post("/api/v1/projects", PROJECT)
    return Shell(api)


def test_a_list_answers_to_ls_and_the_other_way_round(shell: Shell) -> None:
    for group in ("project", "bead", "agent", "event", "webhook", "user", "token", "dlq"):
        assert shell.document(group, "ls") == shell.document(group, "list")


# How it ends.


def test_a_loom_that_is_not_there_and_a_token_that_nobody_made(shell: Shell) -> None:
    shell.profile = Profile("http://127.0.0.1:1", TOKEN)
    assert shell.run("bead", "list").exit_code == 5
    assert Shell(shell.api, "wrong").run("bead", "list").exit_code == 4


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(("passes", "code", "word"), [(True, 0, "succeeded"), (False, 1, "failed")])
def test_a_run_ends_as_its_bead_does(passes: bool, code: int, word: str) -> None:
    looks = Looks(attempted(passes=passes))
    looks.bead_id = "mine-1"

    done = looks.shell().run("bead", "run", "shop", "--title", "Mend it", "--id", "mine-1")

    assert done.exit_code == code, done.stderr
    assert f"mine-1 {word}" in done.stderr


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(("act", "code"), [("cancel", 6), ("block", 7)])
def test_a_run_that_a_person_ends_or_has_to_look_at(act: str, code: int) -> None:
    class Ended(Looks):
        def look(self) -> None:
            if self.looks == 2 and act == "cancel":
                self.api.ledger.cancel_bead(self.bead_id, Intervention("ada", "no use"))
            elif self.looks == 2:
                self.api.ledger.list_attempts(self.bead_id)
                block(self.api, self.bead_id)

    looks = Ended(attempted(passes=True))
    looks.bead_id = "mine-1"

    done = looks.shell().run("bead", "run", "shop", "--title", "x", "--id", "mine-1", "--json")

    assert done.exit_code == code, done.stderr
    assert json.loads(done.stdout)["id"] == "mine-1"


def block(api: Api, bead_id: str) -> None:
    letter = DeadLetter(
        message_id="m-1", queue="loom.tasks.shop", project_id="shop", bead_id=bead_id, epoch=1,
        reason="malformed", detail="no JSON", correlation_id="corr", headers="{}", deaths="[]",
        body=b"{", fingerprint="f",
    )  # fmt: skip
    api.ledger.record_dead_letters([letter])


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(("more", "code"), [((), 130), (("--cancel-on-interrupt",), 6)])
def test_ctrl_c_leaves_the_bead_running_or_cancels_it(more: tuple[str, ...], code: int) -> None:
    class Interrupted(Looks):
        def look(self) -> None:
            if self.looks == 2:
                raise KeyboardInterrupt

    looks = Interrupted(attempted(passes=True))
    looks.bead_id = "mine-1"

    done = looks.shell().run("bead", "run", "shop", "--title", "x", "--id", "mine-1", *more)

    assert done.exit_code == code, done.stderr
    cancelled = looks.api.ledger.get_bead("mine-1").resolution == "cancelled"
    assert cancelled is bool(more)
    assert ("loom bead logs -f mine-1" in done.stderr) is not cancelled


# Queues, and every place of a bead.


def test_queues_are_listed_and_shown_as_the_api_counts_them() -> None:
    api = Api()
    api.post("/api/v1/projects", PROJECT)
    settings = ControlSettings(token_sha256=digest(TOKEN))
    api.app = create_app(
        api.ledger, settings, read_depths=lambda names: [Depth(n, len(n), 0) for n in names]
    )
    shell = Shell(api)

    names = [each["queue"] for each in shell.document("queue", "list")["queues"]]
    assert names == ["loom.dead.shop", "loom.tasks.shop", "loom.results"]
    shown = shell.document("queue", "show", "shop")["queues"]
    assert [(each["queue"], each["ready"]) for each in shown] == [
        ("loom.dead.shop", 14), ("loom.tasks.shop", 15),
    ]  # fmt: skip
    assert "loom.results" in shell.run("queue", "ls").output
    assert shell.run("queue", "show", "none").exit_code == 3
    # Without a broker to look at, that is said.
    assert Shell(Api()).run("queue", "list").exit_code == 5


def test_the_places_of_a_bead_elsewhere_name_its_id(shell: Shell) -> None:
    bead_id = str(shell.document("bead", "file", "shop", "--title", "x")["id"])
    places = shell.document("bead", "where", bead_id)["places"]
    assert [each["place"] for each in places] == ["Loom", "its page", "git"]
    assert all(bead_id in each["command"] for each in places)
    assert bead_id in shell.run("bead", "where", bead_id).output


# Which Loom.


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where profiles are kept; no Loom is named elsewhere."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("LOOM_TOKEN", "loom_a_b")
    for name in ("LOOM_URL", "LOOM_PROFILE", "LOOM_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "loom" / "profiles.toml"


def asked(*words: str) -> Profile:
    """The Loom that a command with those words speaks to."""
    with cli.make_context("loom", [*words, "status"]):
        return profile.current()


def test_a_profile_is_kept_for_its_user_alone_used_and_forgotten(
    kept: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.document("profile", "add", "office", "https://loom.example/", "--use")
    shell.document("profile", "add", "lab", "http://10.0.0.7:8080")
    assert kept.stat().st_mode & 0o777 == 0o600
    listed = shell.run("profile", "list").output
    assert "office" in listed
    assert "loom_a_b" not in listed
    monkeypatch.delenv("LOOM_TOKEN")

    assert asked() == Profile("https://loom.example", "loom_a_b")
    monkeypatch.setenv("LOOM_PROFILE", "lab")
    assert asked().url == "http://10.0.0.7:8080"
    monkeypatch.setenv("LOOM_URL", "http://named")
    monkeypatch.setenv("LOOM_TOKEN", "t")
    assert asked() == Profile("http://named", "t")
    assert asked("--profile", "office").url == "https://loom.example"

    shell.document("profile", "remove", "office")
    assert profiles.read(kept).used == ""
    missing = shell.run("profile", "use", "office")
    assert (missing.exit_code, "lab" in missing.output) == (3, True)


@pytest.mark.parametrize(
    ("name", "url"), [("a b", "http://x"), ("a", "x"), ("a", "http://u:p@x"), ("a", "file:///x")]
)
def test_a_profile_that_cannot_be_is_refused(kept: Path, steady: Api, name: str, url: str) -> None:
    assert Shell(steady).run("profile", "add", name, url).exit_code == 1
    assert not kept.exists()


# What a shell completes.


def completed(shell: Shell, words: list[str], begun: str) -> list[str]:
    complete = ShellComplete(cli, {"obj": shell.profile}, "loom", "_LOOM_COMPLETE")
    return [item.value for item in complete.get_completions(words, begun)]


def test_ids_and_commands_are_completed(shell: Shell) -> None:
    bead_id = str(shell.document("bead", "file", "shop", "--title", "x")["id"])
    assert completed(shell, ["bead", "show"], "bd-") == [bead_id]
    assert completed(shell, ["bead", "list", "--project"], "s") == ["shop"]
    assert completed(shell, ["project", "show"], "x") == []
    assert "run" in completed(shell, ["bead"], "r")
    shell.profile = Profile("http://127.0.0.1:1", TOKEN)
    assert completed(shell, ["bead", "show"], "") == []


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(steady: Api, name: str) -> None:
    assert "_LOOM_COMPLETE" in Shell(steady).run("completion", name).stdout


# What it takes.


def test_showing_a_bead_imports_neither_grpc_nor_the_pages_nor_celery() -> None:
    code = (
        "import sys; from loom.cli import cli\n"
        "try: cli(['bead', 'show', '--help'])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stderr.split())
    assert not loaded & {"grpc", "google.protobuf", "flask", "celery", "sqlalchemy", "boto3"}
    assert not loaded & {"workers", "loom.drill", "loom.stack.lifecycle"}
