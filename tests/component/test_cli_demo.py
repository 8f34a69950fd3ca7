"""The demo's parts: its repository, its message, and how it judges what it sees."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from loom.cli import calculator
from loom.cli.demo import Case, Sight, failure, watch
from loom.cli.unreadable import message
from loom.domain.bead import Attempt
from loom.domain.evidence import Step
from loom.errors import Unavailable, UnreadableMessage
from loom.messaging import task
from loom.stack.home import Home

NOW = datetime(2026, 3, 1, tzinfo=UTC)
USER = pwd.getpwuid(os.geteuid()).pw_name


def test_the_repository_is_the_same_at_every_run_and_keeps_the_agents_branches(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path)
    repository = calculator.lay_out(home, USER)
    first = calculator.tip(home, "main")
    git = ["git", f"--git-dir={repository}", "update-ref"]
    subprocess.run([*git, "refs/heads/agent/x", first], check=True)
    subprocess.run([*git, "-d", "refs/heads/main"], check=True)

    calculator.lay_out(home, USER)

    assert calculator.tip(home, "main") == first
    assert calculator.tip(home, "agent/x") == first
    assert calculator.tip(home, "agent/y") == ""


@pytest.mark.parametrize(
    ("patch", "passes"), [("", False), (calculator.MENDS, True), (calculator.MISSES, False)]
)
def test_one_patch_mends_the_calculator_and_one_misses(
    tmp_path: Path, patch: str, passes: bool
) -> None:
    repository = calculator.lay_out(Home(tmp_path), USER)
    work = tmp_path / "work"
    work.mkdir()
    subprocess.run(
        ["git", f"--git-dir={repository}", f"--work-tree={work}", "checkout", "main", "--", "."],
        check=True,
        capture_output=True,
    )
    if patch:
        subprocess.run(["git", "apply", "-"], input=patch.encode(), cwd=work, check=True)

    answer = subprocess.run(
        calculator.TEST_COMMAND, cwd=work, capture_output=True, text=True, check=False
    )

    assert (answer.returncode == 0) is passes, answer.stderr


def test_no_agent_can_read_the_message() -> None:
    sent = message("demo", "riddle-1")

    with pytest.raises(UnreadableMessage) as caught:
        task.read(sent["properties"]["headers"], sent["payload"].encode())

    assert caught.value.data["reason"] == "unknown_type"
    assert len(json.loads(sent["payload"])) == 3


def test_the_failure_is_the_last_line_of_the_step_that_failed() -> None:
    steps = (
        Step("checkout", ("git",), 0, 0.1, "fine"),
        Step("test", ("python3",), 1, 0.1, "Traceback\n\nFAILED (failures=1)\n"),
    )
    attempt = Attempt("b", 1, "a", "failed", NOW, NOW, steps=steps)

    assert failure((attempt,)) == "test exit 1: FAILED (failures=1)"
    assert failure(()) == ""


@pytest.mark.usefixtures("clock")
def test_it_watches_until_all_have_ended_and_outlives_a_part_that_is_away() -> None:
    sights = iter((Sight("filed"), Unavailable("restarting"), Sight("succeeded", "c", ended=True)))
    shown: list[str] = []

    def look() -> Sight:
        sight = next(sights)
        if isinstance(sight, Unavailable):
            raise sight
        return sight

    case = Case("Mend it", "succeeded", look, "loom logs")
    watch([case], 60, lambda cases: shown.append(cases[0].sight.state))

    assert case.as_wanted
    assert shown == ["filed", "filed", "filed", "succeeded"]


@pytest.mark.usefixtures("clock")
def test_what_ends_otherwise_or_not_in_time_is_not_as_wanted() -> None:
    other = Case("x", "failed", lambda: Sight("succeeded", ended=True), "")
    never = Case("y", "succeeded", lambda: Sight("in_progress"), "")

    watch([other, never], 0.01, lambda cases: None)

    assert not other.as_wanted
    assert not never.as_wanted
