"""A whole Loom of the tests' own, started and ended by its commands, as a user would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from people import Person, chromium
from playwright.sync_api import Browser, StorageState

from loom.cli import calculator, profile
from loom.clients.control import ControlClient
from loom.domain.project import Project
from loom.stack import remains, services
from loom.stack.home import Home, StackSettings
from loom.stack.lifecycle import Stack
from loom.stack.observe import Observer, Service
from loom.testing.infrastructure import free_ports

ROOT = Path(__file__).resolve().parents[2]


def eventually(what: str, holds: Callable[[], bool], within_s: float = 60.0) -> None:
    """Wait until the condition holds; fails naming it if it does not in time."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.1)


@dataclass(frozen=True)
class Loom:
    """The stack, by its command line and by its API. started: what the first `loom up` told."""

    home: Home
    environment: dict[str, str]
    started: dict[str, Any] = field(default_factory=dict)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `loom` with these words."""
        return subprocess.run(
            [sys.executable, "-m", "loom.cli", *words],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A running `loom` with these words; `communicate` gives what it says until it ends."""
        return subprocess.Popen(
            [sys.executable, "-m", "loom.cli", *words],
            env=self.environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def document(self, *words: str) -> Any:
        """What `loom` prints with --json; its exit code has to be 0."""
        answer = self.run(*words, "--json")
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return json.loads(answer.stdout)

    def services(self) -> dict[str, dict[str, Any]]:
        """Every service by its name."""
        return {each["name"]: each for each in self.document("status")["services"]}

    def seen(self) -> dict[str, Service]:
        """The same without a command's start, for who looks again and again."""
        return {each.name: each for each in Observer(self.home, self.home.ports()).look()}

    def client(self) -> ControlClient:
        """A client of the API."""
        return profile.of_stack(self.home).client()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows the stack's state and the end of each log, which go with it."""
    report = yield
    stack = getattr(item, "funcargs", {}).get("loom")
    if report.failed and isinstance(stack, Loom):
        report.sections.append(("loom status", stack.run("status").stdout))
        report.sections.append(("loom logs", stack.run("logs", "-n", "15").stdout))
        for name, person in item.funcargs.items():
            if isinstance(person, Person):
                report.sections.append((f"the page of {name}", person.sees()))
    return report


@pytest.fixture(scope="session")
def loom() -> Iterator[Loom]:
    """Loom, up; when the tests end, `loom down` has to leave no process."""
    folder = Path(tempfile.mkdtemp(prefix="loom-journey-"))
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}
    started = Loom(
        Home(folder / "home"),
        kept
        | {"LOOM_HOME": str(folder / "home"), "LOOM_PORT_BASE": str(free_ports().base)}
        | {"PYTHONPATH": str(ROOT)},
    )
    try:
        started.started.update(started.document("up"))
        yield started
        down = started.run("down")
        assert down.returncode == 0, down.stdout + down.stderr
        assert remains.of(started.home) == []
        assert not Stack(started.home, started.home.ports()).supervisor.pid
        stopped = started.services()
        assert {each["state"] for each in stopped.values()} == {"stopped"}
        agents = {file.stem for file in started.home.agent_programs.glob("*.conf")}
        assert {*services.INFRASTRUCTURE, *services.LOOM, *agents} == stopped.keys()
    finally:
        remains.end(started.home, patience_s=0)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser. It ends with its module: while it runs, nothing else can run an event loop."""
    with chromium() as started:
        yield started


@dataclass(frozen=True)
class People:
    """Who may log in: one of each role. logins: of those who did."""

    loom: Loom
    base: str
    logins: dict[str, StorageState] = field(default_factory=dict)

    def joins(self, name: str, *words: str) -> str:
        """Somebody new; gives their password."""
        return str(self.loom.document("user", "add", name, *words)["password"])

    def comes(self, browser: Browser, role: str, **looks: Any) -> Person:
        """Who has that role everywhere, logged in; by the form if it is for the first time."""
        if role in self.logins:
            return Person(browser, self.base, self.logins[role], **looks)
        person = Person(browser, self.base, **looks)
        person.opens("/login")
        person.logs_in(f"mia-{role}", self.joins(f"mia-{role}", "--role", role))
        person.page.wait_for_url("**/")
        self.logins[role] = person.context.storage_state()
        return person


@pytest.fixture(scope="session")
def people(loom: Loom) -> People:
    """Those who come to the pages."""
    return People(loom, str(loom.services()["control"]["url"]))


@pytest.fixture
def operator(people: People, browser: Browser) -> Iterator[Person]:
    """An operator at a page, none of which may do what no page may."""
    person = people.comes(browser, "operator")
    yield person
    person.leaves()


@pytest.fixture
def viewer(people: People, browser: Browser) -> Iterator[Person]:
    """A viewer at a page, none of which may do what no page may."""
    person = people.comes(browser, "viewer")
    yield person
    person.leaves()


@pytest.fixture
def admin(people: People, browser: Browser) -> Iterator[Person]:
    """An admin at a page, none of which may do what no page may."""
    person = people.comes(browser, "admin")
    yield person
    person.leaves()


@pytest.fixture(scope="session")
def desk(loom: Loom) -> str:
    """A project over a repository of its own."""
    repository = calculator.lay_out(Home(loom.home.path / "desk"), StackSettings().agent_user)
    new = Project("desk", str(repository), test_command=calculator.TEST_COMMAND, timeout_s=60)
    with loom.client() as client:
        return client.create_project(new).items[0].id
