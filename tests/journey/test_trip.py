"""One bead from an HTTP request to its commit, over every hop, all of them real."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import workshop
from whole import Loom, eventually

from loom.cli import calculator
from loom.cli.waiting import follow
from loom.domain.bead import Attempt, Bead, NewBead
from loom.domain.evidence import FailureClass
from loom.domain.project import Project
from loom.stack import credentials, services
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
    before = loom.seen()
    names = {*services.LOOM, f"agent-{project}"}
    for name in names:
        os.kill(before[name].pid, signal.SIGKILL)

    def all_back() -> bool:
        now = loom.seen()
        return {each.state for each in now.values()} == {"running"} and all(
            now[name].pid != before[name].pid for name in names
        )

    eventually("every service that was killed runs again", all_back)
    bead = filed(loom, project, NewBead("After the storm", context={"patch": calculator.MENDS}))
    assert bead.resolution == "succeeded", bead.reason


def test_a_killed_agent_leaves_no_bead_behind(loom: Loom, project: str) -> None:
    agent = loom.seen()[f"agent-{project}"].pid
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


@dataclass
class Workshop:
    """A project with one bead for each way, filed at once. follower: of the log of one of them."""

    loom: Loom
    repository: Path
    beads: dict[str, str]
    follower: subprocess.Popen[str]

    def done(self, way: str) -> tuple[Bead, tuple[Attempt, ...]]:
        """The bead of that way at its end, and every attempt at it.

        On a machine that is very busy an attempt may be lost, and followed by another.
        """
        with self.loom.client() as client:
            bead = follow(client, client.get_bead(self.beads[way]), lambda _bead: None)
            return bead, client.list_attempts(bead.id)

    def shown(self, bead: Bead, name: str) -> str:
        """A file as the bead's branch has it."""
        return git(self.repository, "show", f"agent/{bead.id}:{name}")


@pytest.fixture(scope="session")
def works(loom: Loom) -> Iterator[Workshop]:
    """A project that can be worked on in every way, and a bead for each of them."""
    folder = loom.home.path / "workshop"
    repository = workshop.lay_out(folder)
    (folder / "fix.diff").write_text(workshop.PATCH)
    (folder / "actions.json").write_text(workshop.ACTIONS)
    loom.document("project", "add", "workshop", str(repository), "--command", workshop.COMMAND)
    with loom.client() as client:
        topic = NewBead("Write a test", context={"topic": "weather"})
        beads = {"command": client.create_bead("workshop", topic).id}
    follower = loom.start("bead", "logs", "-f", beads["command"])
    asked = {
        "patch": ("--patch", str(folder / "fix.diff")),
        "actions": ("--actions", str(folder / "actions.json")),
        "verify": ("--verify",),
    }
    for way, words in asked.items():
        told = loom.document("bead", "file", "workshop", "--title", f"By {way}", *words)
        beads[way] = told["id"]
    with follower:
        yield Workshop(loom, repository, beads, follower)
        follower.kill()


def proven(attempt: Attempt, *, tests: int) -> None:
    """Every step of a succeeded attempt left evidence, and so many tests were counted."""
    assert attempt.outcome == "succeeded", attempt
    steps = {step.name: step for step in attempt.steps}
    assert all(step.exit_code == 0 for step in attempt.steps)
    assert steps["build"].output_tail == "built 10000 lines\n"
    counted = steps["test"].tests
    assert counted is not None
    assert (counted.total, counted.passed, counted.failed) == (tests, tests, 0)
    assert [artifact.name for artifact in attempt.artifacts] == ["out/built.txt"]


def committed(works: Workshop, bead: Bead, subject: str) -> None:
    """The bead's one commit is its branch, says that, and names the bead and its trip."""
    (commit,) = bead.commits
    assert commit.branch == f"agent/{bead.id}"
    assert git(works.repository, "rev-parse", commit.branch) == commit.sha
    parent = git(works.repository, "rev-parse", f"{commit.sha}^")
    assert parent == git(works.repository, "rev-parse", "main")
    shown = git(works.repository, "log", "-1", "--format=%s%n%(trailers)", commit.sha).splitlines()
    assert shown[0] == subject
    assert {f"Bead-Id: {bead.id}", f"Correlation-Id: {bead.correlation_id}"} <= set(shown)


def test_a_bead_is_worked_on_by_a_patch(works: Workshop) -> None:
    bead, (*_, attempt) = works.done("patch")
    assert bead.resolution == "succeeded", bead.reason
    proven(attempt, tests=3)
    committed(works, bead, "By patch")
    assert "test_greets_twice" in works.shown(bead, "test_greeting.py")


def test_a_bead_is_worked_on_by_actions(works: Workshop) -> None:
    bead, (*_, attempt) = works.done("actions")
    assert bead.resolution == "succeeded", bead.reason
    proven(attempt, tests=2)
    assert attempt.notes == "moved it"
    committed(works, bead, "Keep a note")
    assert works.shown(bead, "notes/moved.txt") == "Hello"


def test_a_bead_is_worked_on_by_the_projects_own_command_and_files_another(
    works: Workshop,
) -> None:
    bead, (failed, *_, attempt) = works.done("command")
    assert bead.resolution == "succeeded", bead.reason
    assert (failed.outcome, failed.failure_class) == ("failed", FailureClass.INFRA)
    proven(attempt, tests=3)
    assert attempt.notes == "attempt 1, infra: the vendor is away"
    committed(works, bead, "Test another topic")
    assert "test_of_weather" in works.shown(bead, "test_greeting.py")

    with works.loom.client() as client:
        found = client.list_beads(project_id="workshop").items
        [asked] = [each for each in found if each.context.get("filed_by") == bead.id]
        asked = follow(client, asked, lambda _bead: None)
        (ran,) = client.list_attempts(asked.id)
    assert (asked.title, asked.correlation_id) == ("Does it still hold?", bead.correlation_id)
    assert asked.resolution == "succeeded", asked.reason
    proven(ran, tests=2)


def test_a_bead_verifies_what_is_there_and_commits_nothing(works: Workshop) -> None:
    bead, (*_, attempt) = works.done("verify")
    assert bead.resolution == "succeeded", bead.reason
    proven(attempt, tests=2)
    assert bead.commits == ()
    assert git(works.repository, "branch", "--list", f"agent/{bead.id}") == ""


def test_what_a_bead_writes_is_followed_to_its_end_and_read_of_any_attempt(
    works: Workshop,
) -> None:
    said, told = works.follower.communicate(timeout=90)
    assert works.follower.returncode == 0, told
    places = [said.find(words) for words in ("vendor is back", "built 10000", "test_of_weather")]
    assert -1 not in places, said
    assert places == sorted(places)
    first = works.loom.run("bead", "logs", works.beads["command"], "--attempt", "1")
    assert "the vendor is away" in first.stdout


def test_an_artifact_comes_back_as_it_was_built(works: Workshop, tmp_path: Path) -> None:
    bead, (*_, attempt) = works.done("patch")
    (kept,) = attempt.artifacts
    assert kept.sha256 == hashlib.sha256(workshop.BUILT.encode()).hexdigest()
    target = str(tmp_path / "built.txt")

    answer = works.loom.run("bead", "artifact", "get", bead.id, kept.name, "-o", target)

    assert answer.returncode == 0, answer.stderr
    assert Path(target).read_text() == workshop.BUILT
