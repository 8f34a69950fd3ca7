"""Fixtures of the journeys: the Loom that they share, and the people who come to its pages."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest
from people import People, Person, chromium
from playwright.sync_api import Browser
from whole import Loom, whole_loom

from loom.cli import calculator
from loom.domain.project import Project
from loom.stack import services
from loom.stack.home import Home, StackSettings
from loom.stack.lifecycle import Stack


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
    """Loom, up; once it is down, every part of it says so."""
    with whole_loom("loom-journey-") as started:
        yield started
        home = started.home
        ended = started.run("down")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert not Stack(home, home.ports()).supervisor.pid
        stopped = started.services()
        assert {each["state"] for each in stopped.values()} == {"stopped"}
        agents = {file.stem for file in home.agent_programs.glob("*.conf")}
        assert {*services.INFRASTRUCTURE, *services.LOOM, *agents} == stopped.keys()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser. It ends with its module: while it runs, nothing else can run an event loop."""
    with chromium() as started:
        yield started


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
