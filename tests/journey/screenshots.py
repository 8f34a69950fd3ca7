"""The pictures in docs/screenshots, of a real stack that has something to show.

No test: `make screenshots` names this file, and it asserts only what the pictures need.
"""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from people import NARROW, People, Person
from PIL import Image
from playwright.sync_api import Browser, expect
from whole import ROOT, Loom, eventually

from loom.cli import calculator
from loom.cli.unreadable import Operator
from loom.cli.waiting import follow
from loom.domain.bead import Bead, NewBead
from loom.domain.identity import new_message_id
from loom.domain.lifecycle import State
from loom.domain.project import Project
from loom.stack.home import Home, StackSettings

FOLDER = ROOT / "docs" / "screenshots"
MOST_BYTES = 150_000
PROJECTS = ("shop", "search", "payments")
MENDED = (
    "Round the totals of the cart", "Trim the words of a query", "Retry a payment once",
    "Say which card was refused", "Cache the synonyms for an hour", "Sort by price, then by name",
    "Take the mean over all ratings",
)  # fmt: skip
MISSED = ("Weigh ratings by their age", "Drop duplicate hits")
WAITING = (
    "Show the discount in the cart", "Let a search be saved", "Refund half of an order",
    "Warn of a card that ends soon", "Find words within words",
)  # fmt: skip
SPOKEN = (
    "for n in 1 2 3 4 5 6 7 8 9; do printf '\\033[32mok\\033[0m %s orders checked\\n' $n; "
    "sleep 0.1; done; sleep 45"
)


NEUTRAL = """(names) => {
  document.documentElement.style.scrollbarGutter = "auto";
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    for (const [name, instead] of Object.entries(names)) {
      const whole = new RegExp(`(?<![a-z])${RegExp.escape(name)}(?![a-z])`, "g");
      texts.currentNode.data = texts.currentNode.data.replace(whole, instead);
    }
  }
}"""
"""Names of this machine are none of the readers'."""


@pytest.fixture(scope="module")
def shown(loom: Loom) -> Bead:
    """A day's work in three projects; gives a bead that succeeded."""
    document = loom.document("demo")
    assert document["ok"], document
    rabbit = Operator(loom.home)
    with loom.client() as client:
        done: list[Bead] = []
        for project in PROJECTS:
            place = Home(loom.home.path / project)
            repository = calculator.lay_out(place, StackSettings().agent_user)
            command = calculator.TEST_COMMAND
            client.create_project(
                Project(project, str(repository), test_command=command, timeout_s=60)
            )
        for number, title in enumerate(MENDED + MISSED):
            patch = calculator.MENDS if title in MENDED else calculator.MISSES
            description = "As the tests say: the mean of 2, 4 and 6 is 4."
            bead = NewBead(
                title, description=description, context={"patch": patch}, priority=number % 4
            )
            done.append(client.create_bead(PROJECTS[number % 3], bead))
        for project in (*PROJECTS, "shop", "shop"):
            riddle = f"riddle-{new_message_id()}"
            eventually("a queue", lambda p=project, r=riddle: rabbit.publish(p, r))
        rabbit.close()
        done = [follow(client, bead, lambda _bead: None) for bead in done]
        eventually("letters died", lambda: len(client.list_dead_letters("shop").items) == 3)
        running = []
        for number, title in enumerate(("Check every order", "Index the catalogue")):
            bead = NewBead(title, context={"test_command": ["sh", "-c", SPOKEN]}, priority=1)
            running.append(client.create_bead(PROJECTS[number], bead))
        for number, title in enumerate(WAITING):
            bead = NewBead(title, blocked_by=(running[number % 2].id,), priority=number % 4)
            client.create_bead(PROJECTS[number % 3], bead)
        eventually(
            "both run",
            lambda: all(client.get_bead(b.id).state is State.IN_PROGRESS for b in running),
        )
    return done[0]


@pytest.fixture
def camera(people: People, browser: Browser) -> Iterator[Person]:
    """An admin with a wide window."""
    person = people.comes(browser, "admin")
    yield person
    person.leaves()


def taken(loom: Loom, person: Person, name: str) -> None:
    """Keep what the window shows, in as few colours as look the same."""
    expect(person.page.locator("#pulse")).to_contain_text("Live")
    person.page.evaluate(NEUTRAL, {str(loom.home.path): "/srv/loom", socket.gethostname(): "w1"})
    picture = Image.open(io.BytesIO(person.page.screenshot())).convert("RGB")
    kept = FOLDER / f"{name}.png"
    FOLDER.mkdir(exist_ok=True)
    few = picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)
    few.save(kept, optimize=True)
    assert kept.stat().st_size < MOST_BYTES


def test_the_pages_have_their_pictures_taken(
    loom: Loom, shown: Bead, camera: Person, people: People, browser: Browser
) -> None:
    page = camera.page
    camera.opens("/")
    expect(page.locator(".plot canvas").first).to_be_visible()
    taken(loom, camera, "overview")
    camera.opens("/beads")
    taken(loom, camera, "board")
    camera.opens("/agents")
    taken(loom, camera, "agents")
    camera.opens("/dead-letters")
    page.locator("main a[data-open]").first.click()
    expect(page.get_by_role("heading", name="Replay them")).to_be_visible()
    taken(loom, camera, "dead-letters")
    camera.opens(f"/beads/{shown.id}")
    taken(loom, camera, "bead")

    dark = people.comes(browser, "admin", color_scheme="dark")
    with loom.client() as client:
        beads = client.list_beads(project_id="search").items
    bead = next(each for each in beads if each.resolution == "failed")
    running = next(each.id for each in beads if each.state is State.IN_PROGRESS)
    dark.opens(f"/beads/{bead.id}")
    article = dark.page.get_by_role("article", name="Attempt 1")
    article.evaluate("(shown) => scrollTo(0, scrollY + shown.getBoundingClientRect().top - 68)")
    taken(loom, dark, "evidence-dark")
    dark.opens(f"/beads/{running}/log")
    expect(dark.page.get_by_role("log")).to_contain_text("9 orders checked")
    taken(loom, dark, "log-dark")
    dark.leaves()

    phone = people.comes(browser, "admin", viewport=NARROW)
    phone.opens("/")
    taken(loom, phone, "overview-narrow")
    phone.leaves()


def test_no_picture_is_left_over() -> None:
    names = {
        "overview", "board", "agents", "dead-letters", "bead", "evidence-dark", "log-dark",
        "overview-narrow",
    }  # fmt: skip
    assert {Path(each).stem for each in FOLDER.glob("*.png")} == names
