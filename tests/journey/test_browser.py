"""What people do at the pages, in a real browser."""

from __future__ import annotations

from conftest import People
from people import Person
from playwright.sync_api import Browser, expect

from loom.cli import calculator


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
