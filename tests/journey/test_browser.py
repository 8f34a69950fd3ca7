"""What people do at the pages, in a real browser."""

from __future__ import annotations

import pytest
from people import NARROW, People, Person
from playwright.sync_api import Browser, expect
from whole import Loom, eventually

from loom.cli import calculator
from loom.cli.unreadable import Operator
from loom.domain.bead import NewBead
from loom.domain.identity import new_message_id
from loom.messaging.deadletter import DeadLetter

COUNTS = 'for n in 1 2 3 4 5 6; do echo "line $n of 6"; sleep 0.4; done'
WAITS = "echo begun; sleep 60"
POSTED = """async ([path, body]) => {
  const token = document.querySelector("meta[name=csrf-token]").content;
  const headers = {"Content-Type": "application/json", "X-CSRF-Token": token};
  const answer = await fetch(path, {method: "POST", headers, body: JSON.stringify(body)});
  return answer.status;
}"""


def filed(loom: Loom, project: str, title: str, script: str) -> str:
    """A bead that runs the script, by the API."""
    with loom.client() as client:
        bead = NewBead(title, context={"test_command": ["sh", "-c", script]})
        return client.create_bead(project, bead).id


@pytest.fixture(scope="module")
def letters(loom: Loom, desk: str) -> list[DeadLetter]:
    """Two dead letters of one cause."""
    sent = {f"riddle-{new_message_id()}" for _ in range(2)}
    rabbit = Operator(loom.home)
    for message_id in sent:
        eventually("the queue is there", lambda name=message_id: rabbit.publish(desk, name))
    rabbit.close()

    with loom.client() as client:

        def died() -> list[DeadLetter]:
            found = client.list_dead_letters(desk).items
            return [letter for letter in found if letter.message_id in sent]

        eventually("both have died", lambda: len(died()) == 2)
        return died()


def test_a_person_logs_in_with_their_password_and_out_again(
    people: People, browser: Browser
) -> None:
    password = people.joins("ada", "--role", "viewer")
    ada = Person(browser, people.base)
    ada.opens("/agents")
    expect(ada.page.get_by_role("heading", name="Log in")).to_be_visible()

    with ada.is_refused(401):
        ada.logs_in("ada", "a guess")
    expect(ada.page.get_by_role("alert")).to_contain_text("do not belong together")
    ada.logs_in("ada", password)
    expect(ada.page.get_by_role("heading", name="Agents", level=1)).to_be_visible()

    ada.page.get_by_role("button", name="Log out").click()
    expect(ada.page.get_by_role("heading", name="Log in")).to_be_visible()
    ada.leaves()


def test_a_bead_is_filed_at_the_page_and_seen_to_its_end(operator: Person, desk: str) -> None:
    page = operator.page
    operator.opens("/beads")
    page.get_by_role("link", name="File a bead").click()
    page.get_by_role("combobox", name="Project", exact=True).select_option(desk)
    page.get_by_role("textbox", name="Title", exact=True).fill("Mend the mean, by hand")
    page.get_by_role("textbox", name="Patch", exact=True).fill(calculator.MENDS)
    page.get_by_role("button", name="File it").click()

    expect(page.get_by_role("heading", name="Mend the mean, by hand")).to_be_visible()
    expect(page.locator("#head .state")).to_have_text("succeeded")
    expect(page.get_by_role("article", name="Attempt 1")).to_contain_text("agent/bd-")


def test_the_lines_of_a_log_appear_while_they_are_written(
    loom: Loom, operator: Person, desk: str
) -> None:
    page = operator.page
    operator.opens(f"/beads/{filed(loom, desk, 'Count', COUNTS)}/log")
    page.evaluate("window.stayed = true")
    log = page.get_by_role("log")

    expect(log).to_contain_text("line 1 of 6")
    expect(log).to_contain_text("line 6 of 6")
    expect(page.get_by_text("Ended", exact=True)).to_be_visible()
    lines = [f"line {number} of 6" for number in range(1, 7)]
    assert [line for line in log.locator(".k-out span").all_inner_texts() if line in lines] == lines
    assert page.evaluate("window.stayed"), "the page was loaded anew"


def test_a_bead_that_runs_is_cancelled(loom: Loom, operator: Person, desk: str) -> None:
    page = operator.page
    operator.opens(f"/beads/{filed(loom, desk, 'Wait', WAITS)}")
    state = page.locator("#head .state")
    expect(state).to_have_text("in progress")

    page.get_by_role("button", name="Cancel", exact=True).click()
    operator.answers("nobody waits for it", yes="Cancel it")

    expect(state).to_have_text("cancelled")
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)


def test_a_dead_letter_is_replayed_after_a_dry_run(
    operator: Person, letters: list[DeadLetter]
) -> None:
    page, letter = operator.page, letters[0]
    operator.opens("/dead-letters")
    page.locator(f"a[href='/dead-letters/groups/{letter.fingerprint}']").click()
    page.get_by_role("link", name=str(letter.id), exact=True).click()

    page.get_by_role("button", name="Dry run").click()
    operator.answers("agents know riddles now", yes="Try")
    expect(page.locator("#told")).to_contain_text(f"Letter {letter.id} would go to")
    expect(page.locator(".head .state")).to_have_text("open")

    page.get_by_role("button", name="Replay", exact=True).click()
    operator.answers("agents know riddles now", yes="Replay")
    expect(page.locator("#facts")).to_contain_text("mia-operator: agents know riddles now")
    expect(page.get_by_role("button", name="Replay", exact=True)).to_have_count(0)


def test_a_dead_letter_is_discarded(operator: Person, letters: list[DeadLetter]) -> None:
    page = operator.page
    operator.opens(f"/dead-letters/{letters[1].id}")
    page.get_by_role("button", name="Discard", exact=True).click()
    operator.answers("nobody asks riddles", yes="Discard")

    expect(page.locator("#facts")).to_contain_text("mia-operator: nobody asks riddles")
    expect(page.get_by_role("button", name="Discard", exact=True)).to_have_count(0)


def test_a_viewer_finds_nothing_to_do_and_is_refused_what_they_send(
    viewer: Person, desk: str, letters: list[DeadLetter]
) -> None:
    page, letter = viewer.page, letters[0].id
    for path in ("/beads", f"/projects/{desk}", f"/dead-letters/{letter}", "/agents"):
        viewer.opens(path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.locator("main [data-act], main [data-bulk-act]").count() == 0
        assert page.get_by_role("link", name="File a bead").count() == 0

    for path, body in (
        (f"/api/v1/projects/{desk}/beads", {"title": "Sneak in"}),
        (f"/api/v1/dead-letters/{letter}/replay", {"reason": "because"}),
    ):
        with viewer.is_refused(403):
            assert page.evaluate(POSTED, [path, body]) == 403
    for path in ("/beads/new", "/access"):
        with viewer.is_refused(403):
            viewer.opens(path)
        expect(page.get_by_role("main")).to_contain_text("Ask an admin of Loom for a role")


def test_the_keyboard_alone_leads_through_the_menu_and_files_a_bead(
    operator: Person, desk: str
) -> None:
    page = operator.page
    operator.opens("/")
    names = page.get_by_role("navigation", name="Pages").get_by_role("link").all_inner_texts()
    assert len(names) > 5
    passed = operator.presses_until("Tab", names[-1])
    assert [name for name in passed if name in names] == names[:-1]

    page.keyboard.press("g")
    page.keyboard.press("b")
    page.wait_for_url("**/beads")
    operator.presses_until("Tab", "File a bead")
    page.keyboard.press("Enter")
    page.wait_for_url("**/beads/new")
    page.keyboard.type("By keys alone")
    operator.presses_until("Shift+Tab", "Project")
    page.keyboard.type(desk)
    operator.presses_until("Tab", "Test command, a word a line")
    page.keyboard.type("true")
    operator.presses_until("Tab", "File it")
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", name="By keys alone")).to_be_visible()
    expect(page.locator("#head .project")).to_have_text(desk)


def test_on_a_phone_the_menu_opens_and_leads_on(people: People, browser: Browser) -> None:
    person = people.comes(browser, "operator", viewport=NARROW)
    person.opens("/")
    agents = person.page.get_by_role("navigation", name="Pages").get_by_role("link", name="Agents")
    expect(agents).not_to_be_in_viewport()

    person.page.get_by_role("button", name="Menu").click()
    agents.click()

    expect(person.page.get_by_role("heading", name="Agents", level=1)).to_be_visible()
    person.leaves()


WITHIN = {"Content-Security-Policy": "default-src 'self'", "Content-Type": "text/html"}
FORBIDDEN = {
    "what it logs as an error": ("<script>console.error('oh')</script>", {}, "oh"),
    "what it fails by": ("<script>throw new Error('ouch')</script>", {}, "ouch"),
    "what its policy forbids": ("<script>1</script>", WITHIN, "against the policy script-src"),
    "what it asks of another host": (
        "<img src='http://elsewhere.invalid/x.png'>", {}, "asked another host: http://elsewhere",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_page_gets_away_with(people: People, browser: Browser, what: str) -> None:
    body, headers, words = FORBIDDEN[what]
    person = Person(browser, people.base)
    answer = {"content_type": "text/html"} if not headers else {"headers": headers}
    person.page.route("**/odd", lambda route: route.fulfill(body=body, **answer))
    person.opens("/odd")

    with pytest.raises(AssertionError, match=words):
        person.leaves()
