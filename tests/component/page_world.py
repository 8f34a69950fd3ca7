"""Pages over a ledger in memory with something of everything in it, and a reader of their HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html.parser import HTMLParser

from control_api import BEARER, Api, finish
from werkzeug.test import TestResponse

from loom.domain.access import Role
from loom.domain.account import NewToken, new_token
from loom.domain.audit import Intervention
from loom.domain.bead import Bead, NewBead
from loom.domain.evidence import (
    Artifact,
    Commit,
    FailureClass,
    Finding,
    Outcome,
    Step,
    StepKind,
    TestFailure,
    TestReport,
)
from loom.domain.identity import new_message_id
from loom.domain.presence import Registration, Report, RunningBead
from loom.domain.project import Project
from loom.domain.webhook import NewWebhook, Tried, WebhookChange
from loom.messaging.deadletter import DeadLetter
from loom.rpc.callers import digest

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'`{{ 7 * 7 }}"
VOID = {"meta", "link", "input", "br", "img", "hr", "rect", "circle", "path", "use"}
GOOD = Outcome(
    True,
    (
        Step("work", ("patch", HOSTILE), 0, 0.5, HOSTILE, StepKind.WORK),
        Step(
            "lint", ("ruff",), 1, 0.1, advisory=True,
            findings=(Finding("ruff", HOSTILE, 3, "E501", HOSTILE),),
        ),
        Step("test", ("pytest",), 0, 2.0, "ok", tests=TestReport("junit", 3, 3, 0, 0)),
    ),
    (Commit("5b5393737b13aa0ffbb42e9c56a3b7a1d6f0c111", "agent/bd-1"),),
    notes=HOSTILE,
    artifacts=(
        Artifact("changes.diff", "a" * 64, 10, "text/x-diff"),
        Artifact(HOSTILE, "b" * 64, 10, "text/html"),
    ),
)  # fmt: skip
BAD = Outcome(
    False,
    (
        Step(
            "test", ("pytest",), 1, 2.0, "\x1b[31mno\x1b[0m",
            tests=TestReport("junit", 2, 1, 1, 0, (TestFailure(HOSTILE, HOSTILE),)),
        ),
    ),
    failure_class=FailureClass.WORK,
    reason=HOSTILE,
)  # fmt: skip


@dataclass
class Element:
    """An element of a page, with the text that is directly in it."""

    name: str
    attributes: dict[str, str]
    text: str = ""


class Reader(HTMLParser):
    """The elements of a page, in their order. Raises AssertionError where they do not close."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {[each.name for each in self._open]}"

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"<{tag}> has an attribute twice: {names}"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        opened = self._open.pop()
        assert opened.name == tag, f"<{opened.name}> ends as </{tag}>"

    def handle_data(self, data: str) -> None:
        if self._open:
            self._open[-1].text += data

    def all(self, name: str = "", **wanted: str) -> Iterator[Element]:
        """Elements of that name with these attributes (_ for -)."""
        for each in self.elements:
            if name in ("", each.name) and all(
                each.attributes.get(key.replace("_", "-")) == value for key, value in wanted.items()
            ):
                yield each

    def words(self) -> str:
        """All text."""
        return " ".join(" ".join(each.text for each in self.elements).split())


@dataclass
class Desk:
    """A control plane with pages."""

    api: Api = field(default_factory=Api)
    beads: dict[str, Bead] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> TestResponse:
        """The answer to a browser of somebody who may do everything, unless headers say who."""
        accept = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
        return self.api.client.get(path, headers=BEARER | accept | headers)

    def token(self, role: Role | None = None, **projects: Role) -> dict[str, str]:
        """The headers of somebody else."""
        made = new_token()
        new = NewToken(made.id, "somebody", digest(made.text), role, projects)
        self.api.ledger.create_token(new, Intervention("eve", "a test"))
        return {"Authorization": f"Bearer {made.text}"}

    def page(self, path: str, **headers: str) -> Reader:
        """The page, which is there."""
        answer = self.get(path, **headers)
        assert answer.status_code == 200, answer.text
        assert answer.mimetype == "text/html"
        return Reader(answer.text)

    def fill(self) -> Desk:
        """Put in a bead in every state, with evidence, agents and a dead letter."""
        ledger = self.api.ledger
        for name in ("zoo", "yard"):
            ledger.create_project(Project(name, f"/srv/{name}.git", HOSTILE[:50]), "c")
        for name in ("good", "bad", "running", "blocked", "cancelled", "open"):
            new = NewBead(f"{name} {HOSTILE}", description=HOSTILE, context={"patch": HOSTILE})
            (self.beads[name],) = ledger.create_beads("zoo", [new], "c").items
        after = NewBead("after", blocked_by=(self.beads["open"].id,))
        (self.beads["after"],) = ledger.create_beads("zoo", [after], "c").items
        rows = ledger.lease_outbox("d", 100)
        ledger.settle_outbox("d", [row.id for row in rows])
        finish(ledger, self.beads["good"].id, GOOD)
        finish(ledger, self.beads["bad"].id, BAD)
        ledger.claim_bead(self.beads["running"].id, 1, "agent-zoo@one")
        ledger.record_dead_letters([self._letter(self.beads["blocked"])])
        ledger.cancel_bead(self.beads["cancelled"].id, Intervention("eve", HOSTILE))
        told = Registration(
            "agent-zoo@one", "zoo", new_message_id(), "host", 7, {"loom": "1"}, {"git": "2"}
        )
        ledger.register_agent(told)
        running = (RunningBead(self.beads["running"].id, 1),)
        ledger.report_agent(Report(told.name, told.instance, 2, running, load=0.5, disk_free=10**9))
        self._hook()
        return self

    def _hook(self) -> None:
        """A webhook with a delivery that failed, and one that waits."""
        ledger, eve = self.api.ledger, Intervention("eve", "a test")
        hook = ledger.create_webhook(
            NewWebhook("https://chat.test/hooks?a=<b>", "zoo", ("bead.*",)), eve
        )
        ledger.ping_webhook(hook.id, eve)
        (errand,) = ledger.lease_deliveries("d", 1, 60)
        ledger.settle_deliveries("d", [Tried(errand.delivery_id, 410, "", HOSTILE, 12)])
        ledger.change_webhook(hook.id, WebhookChange(active=True), eve)
        ledger.ping_webhook(hook.id, eve)

    def _letter(self, bead: Bead) -> DeadLetter:
        return DeadLetter(
            message_id=new_message_id(), queue="loom.tasks.zoo", project_id="zoo",
            bead_id=bead.id, epoch=1, reason="malformed", detail=HOSTILE, correlation_id="c",
            headers="{}", deaths="[]", body=b"{", fingerprint="f", recorded_at=datetime.now(UTC),
        )  # fmt: skip

    def paths(self) -> list[str]:
        """The address of every page, with something behind it."""
        good = f"/beads/{self.beads['good'].id}"
        return [
            "/dead-letters", "/dead-letters/1", "/dead-letters/groups/f",
            "/services", "/events", "/audit", "/access", "/me",
            "/events/webhooks", f"/events/webhooks/{self.api.ledger.list_webhooks()[0].id}",
            "/queues", "/projects", "/projects/new", "/projects/zoo", "/projects/yard",
            "/", "/?window=day", "/beads", "/beads?view=table", "/beads/new",
            "/beads?view=table&state=blocked&sort=priority&find=o&project=zoo&priority=2",
            *(good + part for part in ("/log", "/changes", "/artifacts", "/comments")),
            *(f"/beads/{bead.id}" for bead in self.beads.values()),
        ]  # fmt: skip
