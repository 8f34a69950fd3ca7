"""One bead from an HTTP request to its commit, over every hop, all of them real."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import httpx
import pytest
from conftest import Loom, eventually

from loom.cli import calculator
from loom.cli.bead import follow
from loom.domain.bead import Bead, NewBead
from loom.domain.project import Project
from loom.stack import credentials
from loom.stack.home import Home, StackSettings

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="session")
def repository(loom: Loom) -> Path:
    """A repository of the test's own, which the agents may push to."""
    folder = loom.home.path / "journey"
    return calculator.lay_out(Home(folder), StackSettings().agent_user)


def git(repository: Path, *words: str) -> str:
    answer = subprocess.run(
        ["git", f"--git-dir={repository}", *words], capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()


def filed(loom: Loom, project_id: str, bead: NewBead) -> Bead:
    """The bead, filed, at its end."""
    with loom.client() as client:
        return follow(client, client.create_bead(project_id, bead), lambda _bead: None)


@pytest.fixture(scope="session")
def project(loom: Loom, repository: Path) -> str:
    """A project over that repository."""
    new = Project("journey", str(repository), test_command=calculator.TEST_COMMAND, timeout_s=60)
    with loom.client() as client:
        return client.create_project(new).items[0].id


def test_a_bead_travels_from_a_request_to_its_commit(
    loom: Loom, project: str, repository: Path
) -> None:
    token = loom.home.secret(credentials.API_TOKEN)
    base = loom.services()["control"]["url"]
    headers = {
        "Authorization": f"Bearer {token}",
        "X-Correlation-Id": "journey-1",
        "traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01",
    }
    with httpx.Client(base_url=base, headers=headers, trust_env=False, timeout=15) as http:
        accepted = http.post(
            f"/api/v1/projects/{project}/beads",
            json={"title": "Mend the mean", "context": {"patch": calculator.MENDS}},
        )
        assert accepted.status_code == 202, accepted.text
        place = accepted.headers["Location"]

        def closed() -> bool:
            return bool(http.get(place).json()["state"] == "closed")

        eventually("the bead is closed", closed)
        bead = http.get(place).json()
        attempts = http.get(bead["links"]["attempts"]).json()["attempts"]

    assert bead["resolution"] == "succeeded", bead
    (commit,) = bead["commits"]
    assert commit["branch"] == f"agent/{bead['id']}"
    assert git(repository, "rev-parse", commit["branch"]) == commit["sha"]
    trailers = git(repository, "log", "-1", "--format=%(trailers)", commit["sha"]).splitlines()
    assert f"Bead-Id: {bead['id']}" in trailers
    assert "Correlation-Id: journey-1" in trailers
    assert git(repository, "rev-parse", f"{commit['sha']}^") == git(repository, "rev-parse", "main")
    (attempt,) = attempts
    assert (attempt["epoch"], attempt["outcome"]) == (1, "succeeded")
    steps = {step["name"]: step for step in attempt["steps"]}
    assert steps["test"]["argv"] == list(calculator.TEST_COMMAND)
    assert all(step["exit_code"] == 0 and step["duration_s"] >= 0 for step in steps.values())


def test_a_patch_that_does_not_apply_fails_the_bead_with_gits_words(
    loom: Loom, project: str, repository: Path
) -> None:
    patch = calculator.MENDS.replace("return", "retrun")

    bead = filed(loom, project, NewBead("Mend what is not there", context={"patch": patch}))

    assert bead.resolution == "failed"
    assert "patch does not apply" in bead.reason
    assert git(repository, "branch", "--list", f"agent/{bead.id}") == ""


def test_a_failing_test_fails_the_bead_with_its_output(loom: Loom, project: str) -> None:
    bead = filed(loom, project, NewBead("Miss", context={"patch": calculator.MISSES}))
    with loom.client() as client:
        (attempt,) = client.list_attempts(bead.id)

    assert bead.resolution == "failed"
    assert bead.commits == ()
    assert "AssertionError: 3.0 != 4" in attempt.steps[-1].output_tail
    assert attempt.steps[-1].exit_code == 1


def test_the_demo_shows_its_three_ends_and_can_be_repeated(loom: Loom) -> None:
    known: set[str] = set()
    for _ in range(2):
        shown = loom.document("demo")

        states = {case["what"]: case["state"] for case in shown["cases"]}
        assert states == {
            "Mend the mean": "succeeded",
            "Mend the mean, and miss": "failed",
            "A message no agent can read": "dead-lettered",
        }
        proofs = [case["proof"] for case in shown["cases"]]
        assert "agent/bd-" in proofs[0]
        assert "FAILED" in proofs[1]
        assert "unknown_type" in proofs[2]
        with loom.client() as client:
            letters = client.list_dead_letters("demo").items
        fresh = {letter.message_id for letter in letters} - known
        assert fresh
        known |= fresh


def test_the_demo_speaks_to_people_and_says_where_to_look(loom: Loom) -> None:
    answer = loom.run("demo")

    assert answer.returncode == 0, answer.stderr
    flower_login = loom.home.secret(credentials.FLOWER)
    for words in ("succeeded", "failed", "dead-lettered", "RabbitMQ", f"loom / {flower_login}"):
        assert words in answer.stdout


def test_a_demo_that_cannot_end_in_time_says_which_part_and_fails(loom: Loom) -> None:
    answer = loom.run("demo", "--timeout", "0")

    assert answer.returncode == 1
    assert "'Mend the mean' had to end succeeded and is filed" in answer.stderr
    assert "loom bead show" in answer.stderr


def test_every_service_that_is_killed_comes_back_and_beads_still_travel(
    loom: Loom, project: str
) -> None:
    before = loom.services()
    names = {"control", "database", "dispatcher", "ingester", "engine", "fleet", f"agent-{project}"}
    for name in names:
        os.kill(before[name]["pid"], signal.SIGKILL)

    def all_back() -> bool:
        now = loom.services()
        return all(
            now[name]["state"] == "running" and now[name]["pid"] != before[name]["pid"]
            for name in names
        )

    eventually("every service that was killed runs again", all_back)
    bead = filed(loom, project, NewBead("After the storm", context={"patch": calculator.MENDS}))
    assert bead.resolution == "succeeded", bead.reason


def test_a_killed_agent_leaves_no_bead_behind(loom: Loom, project: str) -> None:
    agent = loom.services()[f"agent-{project}"]["pid"]
    command = ["sh", "-c", "echo begun; sleep 3"]
    with loom.client() as client:
        bead = client.create_bead(project, NewBead("Slow", context={"test_command": command}))
        eventually(
            "its command has begun", lambda: "begun" in loom.run("bead", "logs", bead.id).stdout
        )
        os.kill(agent, signal.SIGKILL)

        done = follow(client, bead, lambda _bead: None)

        assert done.resolution == "succeeded", done.reason
        assert len(client.list_attempts(bead.id)) == 2


def test_a_bead_filed_by_the_command_line_is_waited_for(loom: Loom, project: str) -> None:
    shown = loom.document("bead", "file", project, "--title", "x", "--test", "true", "--wait")

    assert (shown["state"], shown["resolution"]) == ("closed", "succeeded")
    assert loom.run(
        "bead", "file", project, "--title", "x", "--test", "false", "--wait"
    ).returncode == 1  # fmt: skip
