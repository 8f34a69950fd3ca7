"""Every page is fit for everybody: in light and dark, on a phone, for those who do not see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from people import NARROW, WIDE, People, Person
from playwright.sync_api import Browser, expect
from whole import Loom, eventually

from loom.cli import calculator
from loom.cli.unreadable import Operator
from loom.cli.waiting import follow
from loom.clients.control import ControlClient
from loom.control.pages import menu
from loom.domain.bead import NewBead
from loom.domain.identity import new_message_id

AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
IN_DARK = ["color-contrast", "link-in-text-block"]
"""What the colours decide; all else of a page is the same in the dark."""
CHECKED = """async (rules) => {
  const found = await axe.run({runOnly: rules, resultTypes: ["violations"]});
  return found.violations.flatMap(({id, help, nodes}) =>
    nodes.map((node) => `${id}: ${help}: ${node.html.slice(0, 200)}: ${node.failureSummary}`));
}"""
BACKGROUND = "() => getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)"
SIDEWAYS = """() => {
  const width = document.documentElement.clientWidth;
  const beyond = (element) => element.getBoundingClientRect().right > width + 1
    && !element.closest(".board, .log, pre, .table-wrap, .side, svg");
  if (document.documentElement.scrollWidth <= width) return [];
  const told = [...document.querySelectorAll("body *")].filter(beyond);
  return ["it scrolls sideways", ...told.map((each) => each.outerHTML.slice(0, 200))];
}"""


@pytest.fixture(scope="session")
def places(loom: Loom, desk: str) -> dict[str, str]:
    """The pages of single things, of which each is there."""
    rabbit = Operator(loom.home)
    riddle = f"riddle-{new_message_id()}"
    with loom.client() as client:
        good = client.create_bead(desk, NewBead("Mend", context={"patch": calculator.MENDS}))
        bad = client.create_bead(desk, NewBead("Miss", context={"patch": calculator.MISSES}))
        eventually("the queue is there", lambda: rabbit.publish(desk, riddle))
        rabbit.close()
        for bead in (good, bad):
            follow(client, bead, lambda _bead: None)
        eventually("a letter has died", lambda: bool(client.list_dead_letters(desk).items))
        letter = client.list_dead_letters(desk).items[0]
        agent = _agent(client, desk)
    return {
        "a bead that succeeded": f"/beads/{good.id}",
        "a bead that failed": f"/beads/{bad.id}",
        "a log": f"/beads/{bad.id}/log",
        "changes": f"/beads/{good.id}/changes",
        "artifacts": f"/beads/{good.id}/artifacts",
        "comments": f"/beads/{good.id}/comments",
        "a project": f"/projects/{desk}",
        "an agent": f"/agents/{agent}",
        "a cause of dead letters": f"/dead-letters/groups/{letter.fingerprint}",
        "a dead letter": f"/dead-letters/{letter.id}",
        "a table of beads": "/beads?view=table",
        "the form of a bead": "/beads/new",
        "the form of a project": "/projects/new",
        "one's own": "/me",
        "the API": "/api/docs",
    }


PLACES = (
    "a bead that succeeded", "a bead that failed", "a log", "changes", "artifacts", "comments",
    "a project", "an agent", "a cause of dead letters", "a dead letter", "a table of beads",
    "the form of a bead", "the form of a project", "one's own", "the API",
)  # fmt: skip
"""Beside those of the menu."""
MENU = {entry.name: entry.path for group in menu.GROUPS for entry in group.entries}


def _agent(client: ControlClient, project: str) -> str:
    return client.list_agents(project).items[0].name


@pytest.fixture(scope="module")
def looker(people: People, browser: Browser) -> Iterator[Person]:
    """An admin who looks at page after page."""
    person = people.comes(browser, "admin")
    yield person
    person.leaves()


def check(person: Person, path: str) -> None:
    """Look at the page in light, in dark, and narrow."""
    page = person.page
    page.set_viewport_size(WIDE)
    page.emulate_media(color_scheme="light")
    person.opens(path)
    expect(page.locator("main").locator("h1, h2").first).to_be_visible()
    page.evaluate(AXE.read_text())
    assert page.evaluate(CHECKED, RULES) == []
    light = page.evaluate(BACKGROUND)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(CHECKED, IN_DARK) == []
    assert path == "/api/docs" or sum(page.evaluate(BACKGROUND)[:3]) < 120 < sum(light[:3])
    page.set_viewport_size(NARROW)
    assert page.evaluate(SIDEWAYS) == []
    assert person.problems == []


@pytest.mark.parametrize("name", MENU)
def test_a_page_of_the_menu_is_fit_for_everybody(looker: Person, desk: str, name: str) -> None:
    check(looker, MENU[name])


@pytest.mark.parametrize("name", PLACES)
def test_another_page_is_fit_for_everybody(
    looker: Person, places: dict[str, str], name: str
) -> None:
    check(looker, places[name])


def test_the_form_to_log_in_is_fit_for_everybody(people: People, browser: Browser) -> None:
    stranger = Person(browser, people.base)
    check(stranger, "/login")
    stranger.leaves()
