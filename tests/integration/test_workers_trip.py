"""A bead's way through a real agent: from the message in its queue to the result and the branch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_stand import MEND, AgentProcess, Stand, git, stand_up

from loom.database.migrate import upgrade
from loom.testing.database import running_database
from loom.testing.infrastructure import Infrastructure


@pytest.fixture(scope="module")
def stand(
    infrastructure: Infrastructure, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stand]:
    """A project on a vhost and a database of this file's own."""
    settings = infrastructure.make_database("workers_trip")
    upgrade(infrastructure.migration_named("workers_trip"))
    folder: Path = tmp_path_factory.mktemp("workers")
    with running_database(settings, projects=("demo",)) as database:
        made = stand_up(infrastructure, "workers-trip", database, folder)
        yield made
        made.close()


@pytest.fixture(scope="module")
def agent(stand: Stand) -> Iterator[AgentProcess]:
    """The project's agent."""
    with stand.agent(LOOM_AGENT_SANDBOX="bubblewrap") as running:
        running.wait_for("agent_starts")
        yield running


@pytest.mark.usefixtures("agent")
def test_a_bead_whose_patch_mends_the_bug_ends_with_a_commit_on_its_branch(stand: Stand) -> None:
    bead = stand.file(context={"patch": MEND}, description="2 + 2 is 4.")
    message = stand.result(bead.id)
    assert message.type == "task.completed", message
    assert [step.name for step in message.evidence] == [
        "checkout", "patch", "test", "commit", "push",
    ]  # fmt: skip
    [commit] = message.result.commits
    assert commit.branch == f"agent/{bead.id}"
    assert git("rev-parse", commit.branch, cwd=stand.repository) == commit.sha
    assert "sums right" in message.result.output
    said = git("log", "-1", "--format=%B", commit.branch, cwd=stand.repository)
    assert said.endswith(f"Bead-Id: {bead.id}\nCorrelation-Id: corr-1")
    assert stand.control.get_bead(bead.id).resolution == "succeeded"


@pytest.mark.usefixtures("agent")
def test_a_bead_without_a_patch_is_proven_by_its_test_alone(stand: Stand) -> None:
    bead = stand.file(context={"test_command": ["true"]})
    message = stand.result(bead.id)
    assert message.type == "task.completed"
    assert [step.name for step in message.evidence] == ["checkout", "test"]
    assert not message.result.commits


@pytest.mark.usefixtures("agent")
def test_a_bead_whose_test_fails_reports_the_failing_output(stand: Stand) -> None:
    bead = stand.file()
    message = stand.result(bead.id)
    assert (message.type, message.failure_class) == ("task.failed", "work")
    assert "2 + 2 = 0" in message.result.output
    assert message.reason == ("the test command ended with exit code 1: AssertionError: 2 + 2 = 0")
    assert stand.control.get_bead(bead.id).resolution == "failed"


@pytest.mark.usefixtures("agent")
def test_a_patch_that_does_not_apply_fails_with_gits_words(stand: Stand) -> None:
    bead = stand.file(context={"patch": MEND.replace("a - b", "a * b")})
    message = stand.result(bead.id)
    assert message.failure_class == "work"
    assert "error: patch failed: sums.py:1" in message.reason
    assert [step.name for step in message.evidence] == ["checkout", "patch"]


@pytest.mark.usefixtures("agent")
def test_a_command_that_runs_out_of_time_is_a_timeout(stand: Stand) -> None:
    bead = stand.file(context={"test_command": ["sleep", "600"], "timeout_s": 0.2})
    message = stand.result(bead.id)
    assert message.failure_class == "timeout"
    assert message.reason == "the test command did not end in 0.2 s"
    assert message.evidence[-1].exit_code is None


@pytest.mark.usefixtures("agent")
def test_a_command_sees_nothing_of_the_agents_environment(stand: Stand) -> None:
    show = "import json, os; print(json.dumps(dict(os.environ)))"
    bead = stand.file(context={"test_command": ["python3", "-I", "-c", show]})
    seen = json.loads(stand.result(bead.id).result.output)
    assert set(seen) == {"PATH", "HOME", "TMPDIR", "LANG", "LOOM_BEAD_ID", "LOOM_PROJECT_ID",
        "LOOM_EXCHANGE", "PWD"}  # fmt: skip
    assert seen["LOOM_BEAD_ID"] == bead.id
    assert seen["HOME"].startswith(str(stand.folder / "workspaces" / bead.id))


@pytest.mark.usefixtures("agent")
def test_a_context_of_the_wrong_type_fails_with_its_reason(stand: Stand) -> None:
    bead = stand.file(context={"test_command": "make test"})
    message = stand.result(bead.id)
    assert message.failure_class == "work"
    assert message.reason.startswith("context.test_command has to be a list of strings")


@pytest.mark.usefixtures("agent")
def test_a_branch_that_holds_other_work_is_never_overwritten(stand: Stand) -> None:
    git("branch", "agent/bd-taken", "main", cwd=stand.repository)
    before = git("rev-parse", "agent/bd-taken", cwd=stand.repository)
    bead = stand.file(id="bd-taken", context={"patch": MEND})
    message = stand.result(bead.id)
    assert message.failure_class == "work"
    assert "the branch agent/bd-taken exists already" in message.reason
    assert git("rev-parse", "agent/bd-taken", cwd=stand.repository) == before


def test_every_line_of_a_bead_carries_its_ids(stand: Stand, agent: AgentProcess) -> None:
    bead = stand.file(context={"test_command": ["true"]})
    stand.result(bead.id)
    line = agent.wait_for("attempt_reported", bead_id=bead.id)
    assert {"correlation_id": "corr-1", "epoch": 1, "attempt": 1}.items() <= line.items()
    assert line["trace_id"]
    assert not agent.logged("not_json")


def test_nothing_of_an_attempt_is_left_in_the_workspace(stand: Stand, agent: AgentProcess) -> None:
    bead = stand.file(context={"test_command": ["sh", "-c", "mkdir a; touch a/b; chmod 0 a"]})
    stand.result(bead.id)
    agent.wait_for("attempt_reported", bead_id=bead.id)
    assert not list((stand.folder / "workspaces").iterdir())
