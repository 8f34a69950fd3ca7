"""The process that tells the ledger of its agent, the tools it finds, and limits set elsewhere."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from loom.domain.outbox import Claim, ClaimVerdict
from loom.domain.presence import AgentWish, Registration
from loom.domain.project import Project
from loom.testing.ledger import FakeLedger
from workers import presence, tools
from workers.presence import Answer, Presence, Snapshot
from workers.reporter import Place, Reporter
from workers.time_limit import Limited, TimeLimit

PATIENCE_S = 30.0
IDLE = Snapshot(1)


def report(its: socket.socket) -> None:
    """What a reporter does, on a ledger in its own memory."""
    ledger = FakeLedger()
    ledger.create_project(Project("demo", "/r"), "c")
    told = Registration("agent-demo@here", "demo", "1", "host", os.getppid())
    Reporter(ledger, told, Place(Path("/"), 0.02, dict)).run(its, told.pid)


@pytest.fixture
def parent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Presence]:
    monkeypatch.setattr(presence, "AGAIN_AFTER_S", 0.0)
    made = Presence(report)
    made.start()
    yield made
    made.goodbye(PATIENCE_S)


def until(parent: Presence, snapshot: Snapshot, answer: Answer) -> None:
    """Tell that, again and again, until this is answered."""
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        if answer in parent.exchange(snapshot):
            return
        if parent._socket is not None:
            select.select([parent._socket], [], [], PATIENCE_S)
    raise AssertionError(f"{answer} never came")


def test_a_start_hears_what_people_want_of_the_agent(parent: Presence) -> None:
    assert parent.first(PATIENCE_S) is AgentWish.WORK
    assert Path(f"/proc/{parent._pid}/comm").read_text().strip() == presence.NAME


def test_what_was_asked_of_the_agent_itself_reaches_the_ledger_once(parent: Presence) -> None:
    until(parent, IDLE, Answer(AgentWish.WORK))
    until(parent, Snapshot(1, asks=(1, AgentWish.DRAIN)), Answer(AgentWish.DRAIN, 1))
    until(parent, Snapshot(1, asks=(2, AgentWish.WORK)), Answer(AgentWish.WORK, 2))
    # An old word that comes late undoes nothing.
    until(parent, Snapshot(1, asks=(1, AgentWish.DRAIN)), Answer(AgentWish.WORK, 2))


def test_a_reporter_that_is_killed_gets_a_successor(parent: Presence) -> None:
    until(parent, IDLE, Answer(AgentWish.WORK))
    killed = parent._pid
    os.kill(killed, signal.SIGKILL)
    os.waitid(os.P_PID, killed, os.WEXITED | os.WNOWAIT)
    parent.exchange(IDLE)
    until(parent, IDLE, Answer(AgentWish.WORK))
    assert parent._pid != killed


def test_nothing_is_left_of_a_reporter_after_goodbye(parent: Presence) -> None:
    parent.goodbye(PATIENCE_S)
    with pytest.raises(ProcessLookupError):
        os.kill(parent._pid, 0)
    parent.goodbye(PATIENCE_S)


def test_tools_on_the_path_are_told_with_their_versions(tmp_path: Path) -> None:
    for name, script in (
        ("ruff", "echo ruff 0.14.6; echo more"),
        ("go", '[ "$1" = version ] && echo go version go1.22.1 linux/amd64'),
        ("make", "exit 3"),
        ("node", "env >&2; echo $SECRET"),
    ):
        tool = tmp_path / name
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
    found = tools.find(("ruff", "go", "make", "node", "absent"), f"{tmp_path}:/usr/bin:/bin")
    assert (found["ruff"], found["go"], found["make"]) == ("0.14.6", "1.22.1", "")
    assert "absent" not in found


def test_a_tool_that_hangs_is_told_without_a_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "ONE_S", 0.2)
    tool = tmp_path / "mvn"
    tool.write_text("#!/bin/sh\nsleep 600\n")
    tool.chmod(0o755)
    assert tools.find(["mvn"], f"{tmp_path}:/usr/bin:/bin") == {"mvn": ""}


# Time limits.

PROJECT = Project("demo", "/r", timeout_s=900, soft_timeout_s=600)


def test_a_claim_carries_the_limits_of_another_process() -> None:
    limit = TimeLimit()
    pid = os.fork()
    if not pid:
        limit.set(hard=7, soft=None)
        os._exit(0)
    os.waitpid(pid, 0)

    class Ledger:
        def claim_bead(self, bead_id: str) -> Claim:
            granted = bead_id == "bd-1"
            verdict = ClaimVerdict.GRANTED if granted else ClaimVerdict.STALE
            return Claim(verdict, project=PROJECT if granted else None)

        def renew_lease(self) -> float:
            return 5.0

    limited = Limited(Ledger(), limit)
    claimed = limited.claim_bead("bd-1").project
    assert claimed is not None
    assert claimed.timeout_s == 7
    assert limited.claim_bead("bd-2").project is None
    assert limited.renew_lease() == 5.0
