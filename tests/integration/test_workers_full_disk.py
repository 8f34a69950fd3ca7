"""An agent whose disk is full fails the attempt with that as its reason, and goes on once there is
room: whole attempts, on a disk of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_stand import MEND, AgentProcess, Stand, git, stand_up

from loom.database.migrate import upgrade
from loom.testing.database import running_database
from loom.testing.infrastructure import Infrastructure

SIZE_MB = 160
"""Of the disk under the workspaces; an agent keeps 128 MB of any disk free."""
FILLS = "dd if=/dev/zero of=filler bs=1M count=64 2>&1; "


@pytest.fixture(scope="module")
def stand(
    infrastructure: Infrastructure, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stand]:
    """A project on a vhost and a database of this file's own."""
    settings = infrastructure.make_database("workers_full_disk")
    upgrade(infrastructure.migration_named("workers_full_disk"))
    folder = tmp_path_factory.mktemp("workers")
    (folder / "disk").mkdir()
    with running_database(settings, projects=("demo",)) as database:
        made = stand_up(infrastructure, "workers-full-disk", database, folder)
        yield made
        made.close()


@pytest.fixture(scope="module")
def agent(stand: Stand) -> Iterator[AgentProcess]:
    """An agent whose workspaces are on a small disk that nobody else sees."""
    disk = stand.folder / "disk"
    with stand.agent(
        before=(
            "unshare", "--map-root-user", "--mount", "sh", "-c",
            f'mount -t tmpfs -o size={SIZE_MB}m tmpfs "$0" && exec "$@"', str(disk),
        ),
        LOOM_AGENT_WORKSPACE=str(disk / "workspaces"),
    ) as running:  # fmt: skip
        running.wait_for("agent_starts")
        yield running


def as_the_agent_sees(agent: AgentProcess, place: Path) -> Path:
    """The same place, on the agent's own disk."""
    return Path(f"/proc/{agent.process.pid}/root{place}")


def goes_on(stand: Stand) -> None:
    """The next bead is worked on, to its commit."""
    bead = stand.file(context={"patch": MEND})
    message = stand.result(bead.id)
    assert message.type == "task.completed", message.reason
    assert git("rev-parse", f"agent/{bead.id}", cwd=stand.repository)


def test_a_disk_that_is_full_before_an_attempt_fails_it_and_the_next_one_runs(
    stand: Stand, agent: AgentProcess
) -> None:
    goes_on(stand)
    ballast = as_the_agent_sees(agent, stand.folder / "disk" / "ballast")
    with ballast.open("wb") as file:
        free = os.statvfs(ballast.parent)
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize)
    try:
        bead = stand.file(context={"patch": MEND}, max_attempts=1)
        message = stand.result(bead.id)
    finally:
        ballast.unlink()
    assert (message.type, message.failure_class) == ("task.failed", "infra"), message
    assert "disk is full" in message.reason or "No space left on device" in message.reason
    goes_on(stand)


@pytest.mark.parametrize("after", ["exit 1", "exit 0", "sleep 60"])
def test_a_command_that_fills_the_disk_fails_for_that_and_the_next_bead_runs(
    stand: Stand, agent: AgentProcess, after: str
) -> None:
    bead = stand.file(
        context={"test_command": ["sh", "-c", FILLS + after], "timeout_s": 30}, max_attempts=1
    )
    message = stand.result(bead.id)
    assert (message.type, message.failure_class) == ("task.failed", "infra"), message
    assert "the disk of the workspace is full" in message.reason
    goes_on(stand)
