"""A bead's way through a real agent: from the message in its queue to the result and the branch."""

from __future__ import annotations

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
    with stand.agent() as running:
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
