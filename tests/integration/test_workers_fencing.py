"""A push that comes too late: refused by the repository itself, wherever its agent stood still."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from agent_stand import MEND, TEST_COMMAND, git, make_repository

from loom.domain.bead import Bead
from loom.domain.evidence import FailureClass, Outcome
from loom.domain.lifecycle import State
from loom.domain.project import Project
from loom.errors import Stale, Unavailable
from workers.attempt import Attempt
from workers.command import Leash
from workers.lease import Lease, LeaseLost
from workers.live import Silent
from workers.means import Means

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
OTHER = MEND.replace("return a + b", "return b + a")
PATIENCE_S = 60.0


class Bench:
    """A repository, and attempts at one bead of it whose ledger is a function of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = make_repository(folder / "upstream")

    def attempt(
        self, epoch: int, renew: Callable[[], float] = lambda: 60.0, patch: str = MEND
    ) -> Outcome:
        """See one attempt through."""
        values: dict[str, Any] = {
            "id": "bd-1", "project_id": "demo", "title": "Mend the sums",
            "state": State.IN_PROGRESS, "epoch": epoch, "version": 2, "correlation_id": "corr-1",
            "created_at": CREATED, "updated_at": CREATED, "context": {"patch": patch},
        }  # fmt: skip
        leash = Leash()
        with Lease(renew, 600.0, time.monotonic(), leash.pull) as lease:
            return Attempt(
                Bead(**values),
                Project("demo", str(self.repository), test_command=TEST_COMMAND),
                epoch,
                lease=lease,
                leash=leash,
                means=Means(
                    root=self.folder / f"workspaces-{epoch}",
                    mirrors=self.folder / "mirrors",
                    home=self.folder / "home",
                    path="/usr/local/bin:/usr/bin:/bin",
                    git_timeout_s=PATIENCE_S,
                ),
                live=Silent(),
            ).run()

    @property
    def refs(self) -> dict[str, str]:
        """Every ref of the repository."""
        listed = git("for-each-ref", "--format=%(refname) %(objectname)", cwd=self.repository)
        return dict(line.split() for line in listed.splitlines())

    def hook(self, name: str, script: str) -> None:
        """Have the repository run that."""
        hook = self.repository / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\n{script}\n")
        hook.chmod(hook.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_push_leaves_the_branch_and_no_token(bench: Bench) -> None:
    outcome = bench.attempt(1)
    assert outcome.succeeded, outcome
    assert sorted(bench.refs) == ["refs/heads/agent/bd-1", "refs/heads/main"]


def test_an_agent_that_stood_still_after_the_ledgers_yes_pushes_nothing(bench: Bench) -> None:
    later: list[Outcome] = []
    asked_by_two = threading.Lock()  # the fence, and the thread that keeps the lease

    def renew() -> float:
        # The yes is given; then the agent stands still, and the bead goes to another.
        with asked_by_two:
            if not later and "refs/loom/bd-1/1" in bench.refs:
                later.append(bench.attempt(2, patch=OTHER))
            elif later:
                raise Stale("epoch 2 has the bead")
            return 600.0

    with pytest.raises(LeaseLost, match="epoch 2 has the bead"):
        bench.attempt(1, renew)
    [outcome] = later
    assert outcome.succeeded, outcome
    assert bench.refs["refs/heads/agent/bd-1"] == outcome.commits[0].sha
    assert git("rev-list", "--count", "main..agent/bd-1", cwd=bench.repository) == "1"
    assert not [ref for ref in bench.refs if ref.startswith("refs/loom")]


def test_a_push_that_stood_still_within_the_repository_is_refused_there(bench: Bench) -> None:
    """The old push has been told every ref, tokens included, before the token is withdrawn."""
    told, go = bench.folder / "told", bench.folder / "go"
    os.mkfifo(told)
    os.mkfifo(go)
    # Holds up the push of the branch alone, and only the first.
    bench.hook(
        "pre-receive",
        f"grep -q refs/heads/agent || exit 0; mkdir {bench.folder}/once 2>/dev/null || exit 0; "
        f"echo told >{told}; read word <{go}",
    )
    stale = threading.Event()
    ended: list[object] = []

    def renew() -> float:
        if stale.is_set():
            raise Stale("epoch 2 has the bead")
        return 600.0

    def old() -> None:
        try:
            ended.append(bench.attempt(1, renew))
        except LeaseLost as lost:
            ended.append(lost)

    thread = threading.Thread(target=old)
    thread.start()
    assert told.read_text() == "told\n"
    outcome: list[Outcome] = []
    # The renewals of the old attempt still get a yes: the repository alone has to tell them apart.
    outcome.append(bench.attempt(2, patch=OTHER))
    stale.set()
    go.write_text("go\n")
    thread.join(PATIENCE_S)
    assert outcome[0].succeeded, outcome
    assert isinstance(ended[0], LeaseLost)
    assert bench.refs["refs/heads/agent/bd-1"] == outcome[0].commits[0].sha
    assert git("rev-list", "--count", "main..agent/bd-1", cwd=bench.repository) == "1"


def test_a_push_that_landed_before_the_takeover_is_what_the_next_attempt_goes_on_from(
    bench: Bench,
) -> None:
    first, second = bench.attempt(1), bench.attempt(2)
    assert first.succeeded
    assert second.succeeded
    assert first.commits == second.commits


def test_a_ledger_that_is_away_before_the_push_is_asked_until_it_answers(bench: Bench) -> None:

    answers = iter([True] * 3)

    def renew() -> float:
        if "refs/loom/bd-1/1" in bench.refs and next(answers, False):
            assert "refs/heads/agent/bd-1" not in bench.refs
            raise Unavailable("the ledger is away")
        return 600.0

    outcome = bench.attempt(1, renew)
    assert outcome.succeeded, outcome
    assert next(answers, None) is None


@pytest.mark.parametrize(
    "rule",
    [
        'case "$1" in refs/loom/*) exit 1;; esac',
        'case "$1 $3" in refs/loom/*" 0000000000000000000000000000000000000000") exit 1;; esac',
    ],
    ids=["takes no tokens", "removes none"],
)
def test_a_repository_without_room_for_tokens_still_has_its_branch_made_once(
    bench: Bench, rule: str
) -> None:
    bench.hook("update", rule)
    first = bench.attempt(1)
    assert first.succeeded, first
    assert [step.name for step in first.steps].count("push") == 1
    second = bench.attempt(2)
    assert second.commits == first.commits


def test_a_branch_of_somebody_else_is_left_alone_and_no_token_stays(bench: Bench) -> None:
    git("branch", "agent/bd-1", "main", cwd=bench.repository)
    outcome = bench.attempt(1)
    assert outcome.failure_class is FailureClass.WORK
    assert "exists already" in outcome.reason
    assert sorted(bench.refs) == ["refs/heads/agent/bd-1", "refs/heads/main"]
