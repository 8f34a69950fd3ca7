"""Attempts on real repositories: what reaches the branch, and what a repository cannot do."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from agent_stand import MEND, TEST_COMMAND, git, make_repository

from loom.domain.bead import Bead
from loom.domain.credential import token_file
from loom.domain.evidence import FailureClass, Outcome
from loom.domain.lifecycle import State
from loom.domain.project import Project
from loom.domain.rules import Rules
from workers.attempt import Attempt
from workers.command import Leash
from workers.lease import Lease
from workers.live import Log, Silent
from workers.means import Means

PATH = "/usr/local/bin:/usr/bin:/bin"
CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

Try = Callable[..., Outcome]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of the test's own."""
    return make_repository(tmp_path / "upstream")


@pytest.fixture
def attempt(tmp_path: Path, repository: Path) -> Try:
    """Makes an attempt at a bead of that context."""

    def run(
        context: Mapping[str, Any],
        *,
        epoch: int = 1,
        test_command: tuple[str, ...] = TEST_COMMAND,
        address: str = "",
        rules: Rules | None = None,
        live: Log | None = None,
        **fields: Any,
    ) -> Outcome:
        values: dict[str, Any] = {
            "id": "bd-1", "project_id": "demo", "title": "Mend the sums",
            "state": State.IN_PROGRESS, "epoch": epoch, "version": 2,
            "correlation_id": "corr-1", "created_at": CREATED, "updated_at": CREATED,
            "context": context,
        }  # fmt: skip
        leash = Leash()
        with Lease(lambda: 60.0, 60.0, time.monotonic(), leash.pull) as lease:
            return Attempt(
                Bead(**values | fields),
                Project(
                    "demo",
                    address or str(repository),
                    test_command=test_command,
                    rules=rules or Rules(),
                ),
                epoch,
                lease=lease,
                leash=leash,
                means=Means(
                    root=tmp_path / "workspaces",
                    mirrors=tmp_path / "mirrors",
                    home=tmp_path / "home",
                    path=PATH,
                    git_timeout_s=60.0,
                ),
                live=live or Silent(),
            ).run()

    return run


def files(repository: Path, branch: str = "agent/bd-1") -> list[str]:
    """What the branch's commit changed."""
    return git("diff", "--name-only", f"main...{branch}", cwd=repository).split()


def test_only_what_the_patch_changed_is_committed(repository: Path, attempt: Try) -> None:
    outcome = attempt({"patch": MEND}, test_command=("touch", "dropping"))
    assert outcome.succeeded, outcome
    assert files(repository) == ["sums.py"]


def test_what_a_test_does_to_the_index_and_the_history_does_not_reach_the_branch(
    repository: Path, attempt: Try
) -> None:
    script = (
        "git -c user.name=x -c user.email=x@y commit -qam 'Not asked for' && "
        "echo more >> sums.py && git add sums.py"
    )
    outcome = attempt({"patch": MEND}, test_command=("sh", "-c", script))
    assert outcome.succeeded, outcome
    assert git("rev-list", "--count", "main..agent/bd-1", cwd=repository) == "1"
    assert "more" not in git("show", "agent/bd-1:sums.py", cwd=repository)


def test_the_same_work_twice_is_the_same_commit_and_moves_the_branch_once(
    repository: Path, attempt: Try
) -> None:
    first, second = attempt({"patch": MEND}), attempt({"patch": MEND}, epoch=2)
    assert first.commits == second.commits != ()
    assert git("rev-parse", "agent/bd-1", cwd=repository) == first.commits[0].sha


def test_an_attempt_after_a_lost_report_gives_the_pushed_commit_though_main_moved(
    tmp_path: Path, repository: Path, attempt: Try
) -> None:
    first = attempt({"patch": MEND})
    clone = tmp_path / "clone"
    git("clone", "--quiet", str(repository), str(clone), cwd=tmp_path)
    (clone / "news").write_text("main moves\n")
    git("add", "news", cwd=clone)
    git("commit", "--quiet", "--message=News", cwd=clone)
    git("push", "--quiet", "origin", "main", cwd=clone)
    second = attempt({"patch": MEND}, epoch=2)
    assert second.succeeded, second
    assert second.commits == first.commits


def test_a_commit_says_whose_it_is_and_when(repository: Path, attempt: Try) -> None:
    title, description = "Mend\nthe\tsums\x00 -- now", "Why.\n\nBead-Id: x"
    outcome = attempt({"patch": MEND}, title=title, description=description)
    assert outcome.succeeded, outcome
    said = git("log", "-1", "--format=%an <%ae>%n%aI%n%cI%n%s", "agent/bd-1", cwd=repository)
    assert said.splitlines() == [
        "Loom agent <agent@loom.invalid>",
        "2026-01-02T03:04:05+00:00",
        "2026-01-02T03:04:05+00:00",
        "Mend the sums\ufffd -- now",
    ]
    trailers = git("log", "-1", "--format=%(trailers)", "agent/bd-1", cwd=repository)
    assert trailers == "Bead-Id: bd-1\nCorrelation-Id: corr-1"


def test_no_hook_that_a_command_plants_is_run(
    tmp_path: Path, repository: Path, attempt: Try
) -> None:
    trace = tmp_path / "hook-ran"
    hook = f"#!/bin/sh\ntouch {trace}\n"
    plant = (
        f"for h in pre-push pre-commit post-checkout reference-transaction; do "
        f"mkdir -p .git/hooks; printf '{hook}' > .git/hooks/$h; chmod +x .git/hooks/$h; done; "
        "git config core.hooksPath .git/hooks"
    )
    outcome = attempt({"patch": MEND}, test_command=("sh", "-c", plant))
    assert outcome.succeeded, outcome
    assert not trace.exists()


@pytest.mark.parametrize(
    "patch",
    [
        "--- a/.git/config\n+++ b/.git/config\n@@ -0,0 +1 @@\n+[core]\n",
        "--- /dev/null\n+++ b/../outside\n@@ -0,0 +1 @@\n+out\n",
        "no patch at all",
        "diff --git a/sums.py b/sums.py\n--- a/sums.py\n+++ b/sums.py\n@@ -1 +1 @@\n-x\n+y\n",
    ],
)
def test_a_patch_that_git_refuses_is_a_failure_of_the_work(attempt: Try, patch: str) -> None:
    outcome = attempt({"patch": patch})
    assert outcome.failure_class is FailureClass.WORK
    assert outcome.reason.startswith("the patch does not apply: error: ")


def test_a_new_file_with_odd_letters_and_a_mode_is_committed(
    repository: Path, attempt: Try
) -> None:
    patch = (
        'diff --git "a/t\\303\\266ol" "b/t\\303\\266ol"\nnew file mode 100755\n--- /dev/null\n'
        '+++ "b/t\\303\\266ol"\n@@ -0,0 +1 @@\n+#!/bin/true\n'
    )
    outcome = attempt({"patch": patch}, test_command=("./töol",))
    assert outcome.succeeded, outcome
    assert git("ls-tree", "agent/bd-1", "töol", cwd=repository).startswith("100755")


def test_a_repository_of_another_user_can_be_worked_on(repository: Path, attempt: Try) -> None:
    if os.geteuid() == 0:
        for place in (repository, *repository.rglob("*")):
            os.chown(place, 65534, 65534)
    outcome = attempt({"patch": MEND})
    assert outcome.succeeded, outcome


def test_a_repository_that_is_not_there_is_the_projects_to_correct(
    tmp_path: Path, attempt: Try
) -> None:
    outcome = attempt({}, address=str(tmp_path / "nowhere.git"))
    assert outcome.failure_class is FailureClass.WORK
    assert "does not exist on the agent's machine" in outcome.reason


@pytest.mark.parametrize("address", ["ext::sh -c touch% /tmp/owned", "git://127.0.0.1/x"])
def test_only_known_transports_are_used(attempt: Try, address: str) -> None:
    outcome = attempt({}, address=address)
    assert outcome.failure_class is FailureClass.WORK
    assert outcome.reason
    assert not Path("/tmp/owned").exists()


def test_a_refusal_of_the_repository_is_a_failure_of_the_work(
    repository: Path, attempt: Try
) -> None:
    hook = repository / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no pushing on Fridays >&2\nexit 1\n")
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    outcome = attempt({"patch": MEND})
    assert outcome.failure_class is FailureClass.WORK
    assert "refuses agent/bd-1" in outcome.reason
    assert "no pushing on Fridays" in outcome.reason


def test_a_test_command_that_is_not_there_fails_with_words(attempt: Try) -> None:
    outcome = attempt({"test_command": ["no-such-program", "--flag"]})
    assert outcome.failure_class is FailureClass.WORK
    assert "cannot run 'no-such-program'" in outcome.reason


def test_a_command_of_the_work_is_asked_to_end_before_it_is_killed(attempt: Try) -> None:
    script = "trap 'echo was asked; exit 3' TERM; echo begun; while :; do sleep 0.05; done"
    action = {"type": "run_command", "argv": ["sh", "-c", script]}
    outcome = attempt({"actions": [action], "soft_timeout_s": 0.5, "timeout_s": 30})
    assert outcome.failure_class is FailureClass.TIMEOUT
    assert outcome.steps[-1].exit_code == 3
    assert outcome.output.endswith("was asked\n")


class Follower(Silent):
    """Somebody who follows the live log."""

    def __init__(self) -> None:
        self.seen = b""

    def begin(self, step: str, argv: Sequence[str] = ()) -> None:
        """A step begins."""
        self.seen += f"$ {step} {argv}\n".encode()

    def write(self, step: str, chunk: bytes) -> None:
        """Its command wrote this."""
        self.seen += chunk


VENDOR_KEY = "vendor-key-4711"


@pytest.fixture
def credentials(tmp_path: Path) -> None:
    """What an operator gave to the project's agents."""
    home = tmp_path / "home"
    (home / "git").mkdir(parents=True)
    for name, text in (
        ("command.env", f"VENDOR_KEY={VENDOR_KEY}\n"),
        ("git/token", token_file("token-of-the-repository")),
    ):
        (home / name).write_text(text)
        (home / name).chmod(0o600)


@pytest.mark.usefixtures("credentials")
def test_nothing_tells_the_credentials_that_the_agent_was_given(attempt: Try) -> None:
    code = (
        "import json, os, sys, time\n"
        "key = os.environ['VENDOR_KEY']\n"
        "os.write(1, key[:7].encode()); time.sleep(0.1); os.write(1, key[7:].encode() + b'\\n')\n"
        "print('token-of-the-' + 'repository')\n"
        "open(os.environ['LOOM_REPORT_FILE'], 'w').write(json.dumps({'notes': key,\n"
        "    'outcome': 'failed', 'reason': 'no answer to ' + key}))\n"
    ).replace("{", "{{").replace("}", "}}")  # fmt: skip
    follower = Follower()
    outcome = attempt({}, rules=Rules(command=("python3", "-c", code)), live=follower)
    assert outcome.failure_class is FailureClass.WORK
    assert outcome.output == "[masked]\n[masked]\n"
    assert (outcome.notes, outcome.reason.split()[-1]) == ("[masked]", "[masked]")
    assert b"[masked]\n[masked]\n" in follower.seen
    for told in (repr(outcome), follower.seen.decode()):
        assert VENDOR_KEY not in told
        assert "token-of-the-repository" not in told


@pytest.mark.usefixtures("credentials")
def test_a_change_that_holds_a_credential_of_the_agent_is_not_committed(
    repository: Path, attempt: Try
) -> None:
    code = "import os; open('conf', 'w').write('\\n' + os.environ['VENDOR_KEY'])"
    outcome = attempt({}, rules=Rules(command=("python3", "-c", code)))
    assert outcome.failure_class is FailureClass.WORK
    assert "conf line 2: a credential that this project's agents were given" in outcome.reason
    assert not git("branch", "--list", "agent/bd-1", cwd=repository)


def test_a_workspace_that_cannot_be_made_is_the_surroundings_fault(
    tmp_path: Path, attempt: Try
) -> None:
    (tmp_path / "workspaces").write_text("a file in its place, as no disk is full for a test")
    outcome = attempt({})
    assert outcome.failure_class is FailureClass.INFRA
    assert outcome.reason.startswith("the workspace cannot be used: ")


def test_the_workspace_is_gone_afterwards(tmp_path: Path, attempt: Try) -> None:
    attempt({"test_command": ["sh", "-c", "mkdir -p a/b && chmod 0 a"]})
    assert not list((tmp_path / "workspaces").iterdir())
    shutil.rmtree(tmp_path / "workspaces")
