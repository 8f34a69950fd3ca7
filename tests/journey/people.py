"""People at the pages, each in a browser of their own, watched for what no page may do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Request,
    StorageState,
    expect,
    sync_playwright,
)
from whole import Loom

CHROMIUM = "/usr/bin/chromium"
ALONE = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
"""Chromium itself finds no other host either."""
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
PATIENCE_MS = 20_000
SPEAKS_OF_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`against the policy ${event.violatedDirective}: ${event.blockedURI}`);
});
"""
WITHIN_THE_PAGE = ("data", "blob", "about")
FOCUSED = """() => {
  const here = document.activeElement;
  const label = here.labels?.[0]?.firstElementChild ?? here;
  return (here.getAttribute("aria-label") || label.textContent).trim();
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium; its sandbox does not run for root, and it opens our pages alone."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[ALONE])
        try:
            yield browser
        finally:
            browser.close()


class Person:
    """Somebody at a page. problems: what the browser saw that no page may do, as it came."""

    def __init__(
        self, browser: Browser, base: str, login: StorageState | None = None, **looks: Any
    ) -> None:
        self.problems: list[str] = []
        self._host = urlsplit(base).netloc
        self.context: BrowserContext = browser.new_context(
            base_url=base,
            storage_state=login,
            **{"viewport": WIDE, "reduced_motion": "reduce"} | looks,
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.context.add_init_script(SPEAKS_OF_VIOLATIONS)
        self.context.on("console", self._said)
        self.context.on("weberror", lambda failed: self.problems.append(f"{failed.error}"))
        self.context.on("request", self._asked)
        self.page = self.context.new_page()

    def opens(self, path: str) -> None:
        """Go to a page of Loom."""
        self.page.goto(path)

    def sees(self) -> str:
        """The address and the words of the page, as it is now."""
        return f"{self.page.url}\n{self.page.locator('body').inner_text(timeout=1_000)[:3_000]}"

    def logs_in(self, name: str, password: str) -> None:
        """Send the form that asks for them."""
        self.page.get_by_role("textbox", name="Name", exact=True).fill(name)
        self.page.get_by_role("textbox", name="Password", exact=True).fill(password)
        self.page.get_by_role("button", name="Log in").click()

    def answers(self, reason: str, yes: str) -> None:
        """Give the reason that the dialog asks for, and say yes."""
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_role("textbox").fill(reason)
        dialog.get_by_role("button", name=yes, exact=True).click()
        expect(dialog).to_be_hidden()

    def presses_until(self, key: str, name: str) -> list[str]:
        """Press the key until the element of that name has the focus; gives what had it before."""
        passed: list[str] = []
        for _ in range(60):
            self.page.keyboard.press(key)
            focused = self.page.evaluate(FOCUSED)
            if focused == name:
                return passed
            passed.append(focused)
        raise AssertionError(f"{key} does not lead to {name!r}, but to {passed}")

    @contextmanager
    def is_refused(self, status: int) -> Iterator[None]:
        """Within it the browser has to note an answer of this status, which is no problem then."""
        words = f"status of {status}"
        with self.context.expect_console_message(lambda message: words in message.text):
            yield
        self.problems[:] = [problem for problem in self.problems if words not in problem]

    def leaves(self) -> None:
        """Close the browser's context; raises AssertionError if any page did what none may."""
        self.context.close()
        assert not self.problems, "\n".join(self.problems)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(f"{message.text} ({message.location.get('url', '')})")

    def _asked(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in WITHIN_THE_PAGE and url.netloc != self._host:
            self.problems.append(f"asked another host: {request.url}")


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
