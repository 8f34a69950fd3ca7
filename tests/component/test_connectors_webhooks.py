"""Deliveries to webhooks: to whom they may go, in time, and each until it has arrived."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import trustme

from loom.connectors.deliverer import Deliverer
from loom.connectors.posting import Post
from loom.domain import signature
from loom.domain.audit import Intervention
from loom.domain.bead import NewBead
from loom.domain.event import EventLine, Place
from loom.domain.project import Project
from loom.domain.webhook import (
    DeliveryState,
    Errand,
    NewWebhook,
    Tried,
    new_secret,
)
from loom.errors import Unavailable
from loom.settings.webhooks import WebhookSettings
from loom.testing.ledger import FakeLedger
from loom.testing.receiver import Receiver, receiver

BY = Intervention("ada", "the chat wants to know")
SECRET = new_secret()
EVENT = EventLine(
    Place(1, 2, 3), "01message", "bead.closed", "shop", "bd-1", 1,
    datetime(2026, 11, 22, 9, tzinfo=UTC), {"state": "closed", "reason": "größer"}, "corr",
)  # fmt: skip
HERE = WebhookSettings(allow="127.0.0.0/8", timeout_s=5)


@pytest.fixture(scope="module")
def there() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@cache
def here() -> Post:
    """The same to all tests: to read who signs certificates takes longer than a delivery."""
    return Post(HERE)


def errand(url: str) -> Errand:
    return Errand(7, "wh-1", url, SECRET, EVENT)


def lead_to(*addresses: str) -> Any:
    asked: list[str] = []

    def find(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return addresses

    find.asked = asked  # type: ignore[attr-defined]
    return find


# One delivery.


def test_a_delivery_is_signed_and_says_what_happened(there: Receiver) -> None:
    there.got.clear()
    tried = here()(errand(there.url()))
    assert (tried.delivery_id, tried.status, tried.ok) == (7, 200, True)
    assert tried.response == "thank you"
    (got,) = there.got
    assert signature.verify(SECRET, got.headers, got.body, time.time())
    assert got.headers["webhook-id"] == got.headers["idempotency-key"] == "01message"
    assert got.headers["content-type"] == "application/cloudevents+json"
    assert got.headers["host"] == f"127.0.0.1:{there.port}"
    document = json.loads(got.body)
    assert (document["type"], document["subject"]) == ("bead.closed", "bd-1")
    assert document["data"]["reason"] == "größer"


@pytest.mark.parametrize("status", [301, 400, 404, 410, 500])
def test_any_other_answer_is_a_failure_with_its_words_cut(there: Receiver, status: int) -> None:
    tried = here()(errand(there.url(f"/{status}")))
    assert (tried.status, tried.ok, tried.error, tried.retry_after_s) == (status, False, "", 0)
    assert 0 < len(tried.response) <= 1_000


def test_a_redirect_is_not_followed(there: Receiver) -> None:
    there.got.clear()
    assert here()(errand(there.url("/302"))).status == 302
    assert [each.path for each in there.got] == ["/302"]


def test_an_answer_may_ask_for_time(there: Receiver) -> None:
    assert here()(errand(there.url("/429"))).retry_after_s == 120


@pytest.mark.parametrize("path", ["/hang", "/drip"])
def test_who_does_not_answer_in_time_is_left(there: Receiver, path: str) -> None:
    tried = Post(WebhookSettings(allow="127.0.0.1", timeout_s=0.2))(errand(there.url(path)))
    assert (tried.status, tried.error) == (0, "it did not answer within 0.2 s")


def test_who_cannot_be_reached_is_a_failure() -> None:
    with receiver() as closed:
        url = closed.url()
    assert "could not be reached" in here()(errand(url)).error

    def nobody(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    assert "no such name" in Post(HERE, nobody)(errand("https://gone.example/")).error


# Where it may go.


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["1.1.1.1", "10.0.0.1"], ["::1"]])
def test_a_name_that_leads_inside_is_refused_before_anything_is_sent(addresses: list[str]) -> None:
    with receiver() as inside:
        url = inside.url(host="innocent.example", scheme="https")
        tried = Post(WebhookSettings(), lead_to(*addresses))(errand(url))
        assert "no public address" in tried.error
        assert inside.got == []


def test_plain_http_stays_in_networks_that_are_allowed(there: Receiver) -> None:
    there.got.clear()
    post = Post(WebhookSettings(allow="127.0.0.1"), lead_to("1.1.1.1"))
    assert "https://" in post(errand("http://public.example/")).error
    assert "https://" in post(errand("http://1.1.1.1/")).error
    assert "https://" in Post(WebhookSettings())(errand(there.url())).error
    assert there.got == []


@contextmanager
def secure(folder: Path, name: str) -> Iterator[tuple[Receiver, str]]:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    with receiver(context) as made:
        yield made, str(folder / "ca.pem")


def test_a_certificate_has_to_be_of_the_name_and_the_name_is_looked_up_once(tmp_path: Path) -> None:
    with secure(tmp_path, "hooks.example") as (server, ca_file):
        settings = WebhookSettings(allow="127.0.0.1", ca_file=ca_file)
        find = lead_to("127.0.0.1")
        post = Post(settings, find)
        assert post(errand(server.url(host="hooks.example", scheme="https"))).ok
        assert find.asked == ["hooks.example"]
        refused = post(errand(server.url(host="other.example", scheme="https")))
        assert "certificate" in refused.error.lower()
        untrusting = Post(WebhookSettings(allow="127.0.0.1"), find)
        url = server.url(host="hooks.example", scheme="https")
        assert "certificate" in untrusting(errand(url)).error.lower()
        assert len(server.got) == 1


# The deliverer.


def ledger_with(*urls: str) -> tuple[FakeLedger, list[str]]:
    ledger = FakeLedger()
    hooks = [ledger.create_webhook(NewWebhook(url, types=("bead.*",)), BY).id for url in urls]
    ledger.create_project(Project(id="shop", repository="/srv/x.git"), "corr")
    return ledger, hooks


def file(ledger: FakeLedger, count: int = 1) -> None:
    ledger.create_beads("shop", [NewBead(str(n)) for n in range(count)], "corr")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the deliverer look often whether it is to stop."""
    monkeypatch.setattr("loom.connectors.deliverer.WAIT_MS", 50)


@contextmanager
def delivering(ledger: Any, threads: int = 4, settings: WebhookSettings = HERE) -> Iterator[None]:
    stopping = threading.Event()
    deliverer = Deliverer(ledger, Post(settings), "one", threads, 60)
    thread = threading.Thread(target=deliverer.run, args=(stopping,))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def test_every_event_arrives(there: Receiver) -> None:
    there.got.clear()
    ledger, (hook,) = ledger_with(there.url())
    file(ledger, 5)
    with delivering(ledger):
        got = there.wait_for(5)
    assert len({each.headers["webhook-id"] for each in got}) == 5
    states = {each.state for each in ledger.list_deliveries(hook).items}
    assert states == {DeliveryState.DELIVERED}
    assert ledger.get_webhook(hook).failures == 0


def test_one_that_hangs_holds_up_no_other() -> None:
    with receiver() as there:
        ledger, (stuck, _) = ledger_with(there.url("/hang"), there.url())
        with delivering(ledger):
            file(ledger, 20)
            there.wait_for(2, "/hang")
            there.wait_for(20, "/200")
            assert len(there.at("/hang")) == 2
            there.released.set()
        assert ledger.get_webhook(stuck).pending > 0


class Away(FakeLedger):
    """Cannot be reached so often."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 2

    def settle_deliveries(self, owner: str, tried: Sequence[Tried]) -> int:
        if self.times:
            self.times -= 1
            raise Unavailable("it is away")
        return super().settle_deliveries(owner, tried)


def test_what_was_delivered_is_settled_once_the_ledger_is_back(
    there: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loom.connectors.deliverer.AGAIN_S", 0.01)
    there.got.clear()
    ledger = Away()
    hook = ledger.create_webhook(NewWebhook(there.url(), types=("bead.*",)), BY).id
    ledger.create_project(Project(id="shop", repository="/srv/x.git"), "corr")
    file(ledger)
    with delivering(ledger):
        there.wait_for(1)
        give_up = time.monotonic() + 20
        while ledger.times and time.monotonic() < give_up:
            threading.Event().wait(0.01)
    (done,) = ledger.list_deliveries(hook).items
    assert done.state is DeliveryState.DELIVERED
    assert len(there.got) == 1


def test_a_deliverer_that_fails_inside_goes_on(there: Receiver) -> None:
    there.got.clear()
    ledger, _ = ledger_with(there.url())
    posts = 0

    def post(one: Errand) -> Tried:
        nonlocal posts
        posts += 1
        if posts == 1:
            raise RuntimeError("a fault of ours")
        return here()(one)

    stopping = threading.Event()
    thread = threading.Thread(target=Deliverer(ledger, post, "one", 1, 60).run, args=(stopping,))
    thread.start()
    file(ledger, 2)
    there.wait_for(1)
    ledger.advance(61)
    there.wait_for(2)
    stopping.set()
    thread.join()
