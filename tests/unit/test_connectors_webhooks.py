"""Deliveries to webhooks: signed, to whom they may go, in time, and each until it has arrived."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from loom.connectors.deliverer import Deliverer
from loom.connectors.outside import Refused, check_address
from loom.connectors.posting import Post
from loom.domain import signature
from loom.domain.audit import Intervention
from loom.domain.bead import NewBead
from loom.domain.event import EventLine, Place
from loom.domain.project import Project
from loom.domain.webhook import (
    CAP_S,
    DISABLE_AFTER,
    REST_AFTER,
    TRIES,
    DeliveryState,
    Errand,
    NewWebhook,
    Tried,
    judge,
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
    tried = Post(HERE)(errand(there.url()))
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
    tried = Post(HERE)(errand(there.url(f"/{status}")))
    assert (tried.status, tried.ok, tried.error, tried.retry_after_s) == (status, False, "", 0)
    assert 0 < len(tried.response) <= 1_000


def test_a_redirect_is_not_followed(there: Receiver) -> None:
    there.got.clear()
    assert Post(HERE)(errand(there.url("/302"))).status == 302
    assert [each.path for each in there.got] == ["/302"]


def test_an_answer_may_ask_for_time(there: Receiver) -> None:
    assert Post(HERE)(errand(there.url("/429"))).retry_after_s == 120


@pytest.mark.parametrize("path", ["/hang", "/drip"])
def test_who_does_not_answer_in_time_is_left(there: Receiver, path: str) -> None:
    tried = Post(WebhookSettings(allow="127.0.0.1", timeout_s=0.2))(errand(there.url(path)))
    assert (tried.status, tried.error) == (0, "it did not answer within 0.2 s")


def test_who_cannot_be_reached_is_a_failure() -> None:
    with receiver() as closed:
        url = closed.url()
    assert "could not be reached" in Post(HERE)(errand(url)).error

    def nobody(host: str, port: int) -> Sequence[str]:
        raise OSError("no such name")

    assert "no such name" in Post(HERE, nobody)(errand("https://gone.example/")).error


# Where it may go.


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1",
     "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fd00::1",  # noqa: S104
     "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1"],
)  # fmt: skip
def test_private_addresses_are_refused_in_every_form(address: str) -> None:
    with pytest.raises(Refused, match="no public address"):
        check_address(address, [])


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "64:ff9b::101:101"])
def test_public_addresses_are_taken(address: str) -> None:
    check_address(address, [])


def test_a_network_that_is_allowed_is_taken_in_every_form() -> None:
    allowed = [ip_network("127.0.0.0/8")]
    for address in ("127.0.0.1", "::ffff:127.0.0.1"):
        check_address(address, allowed)
    with pytest.raises(Refused):
        check_address("10.0.0.1", allowed)


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


# Signatures.


def test_the_signature_is_as_the_specification_shows_it() -> None:
    """The example of the Standard Webhooks' own libraries."""
    got = signature.headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
        b'{"test": 2432232314}',
    )  # fmt: skip
    assert got["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(
    st.binary(max_size=50), st.integers(0, 10), st.sampled_from(["body", "id", "time", "secret"])
)
def test_whatever_was_changed_on_the_way_is_noticed(body: bytes, age: int, changed: str) -> None:
    got = signature.headers(SECRET, "m1", 1_000, body)
    assert signature.verify(SECRET, got, body, 1_000 + age)
    other = got | {"id": {"webhook-id": "m2"}, "time": {"webhook-timestamp": "1001"}}.get(
        changed, {}
    )
    secret = new_secret() if changed == "secret" else SECRET
    text = body + b"x" if changed == "body" else body
    assert not signature.verify(secret, other, text, 1_000)


def test_an_old_delivery_is_not_believed() -> None:
    got = signature.headers(SECRET, "m1", 1_000, b"")
    assert not signature.verify(SECRET, got, b"", 1_000 + signature.TOLERANCE_S + 1)
    assert not signature.verify(SECRET, {}, b"", 1_000)


def test_one_of_several_signatures_is_enough() -> None:
    got = signature.headers(SECRET, "m1", 1_000, b"")
    got["webhook-signature"] = f"v1,{base64.b64encode(b'old').decode()} {got['webhook-signature']}"
    assert signature.verify(SECRET, got, b"", 1_000)


# What becomes of a try.


@given(
    st.integers(1, TRIES + 5),
    st.integers(0, 60),
    st.floats(0, 0.999),
    st.sampled_from([0, 410, 500]),
)
def test_a_failure_waits_rests_or_ends_and_never_for_long(
    tries: int, failures: int, jitter: float, status: int
) -> None:
    tried = Tried(1, status, "" if status else "gone away", retry_after_s=10**9)
    verdict = judge(tried, tries, failures, jitter)
    assert verdict.state is not DeliveryState.DELIVERED
    assert (verdict.state is DeliveryState.DEAD) == (tries >= TRIES or status == 410)
    assert 0 <= verdict.delay_s <= CAP_S
    assert verdict.failures == failures + 1
    if status != 410:
        assert (verdict.rest_s > 0) == (failures + 1 >= REST_AFTER)
        assert bool(verdict.disabled) == (failures + 1 >= DISABLE_AFTER)


def test_retries_spread_over_hours() -> None:
    waits = [judge(Tried(1, 500), tries, 0, 0.999).delay_s for tries in range(1, TRIES)]
    assert waits[0] < 16
    assert waits == sorted(waits)
    assert 4 * 3600 < sum(waits) < 12 * 3600


def test_a_success_forgets_what_was_before() -> None:
    verdict = judge(Tried(1, 204), 5, 20, 0.5)
    assert (verdict.state, verdict.failures) == (DeliveryState.DELIVERED, 0)


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
        return Post(HERE)(one)

    stopping = threading.Event()
    thread = threading.Thread(target=Deliverer(ledger, post, "one", 1, 60).run, args=(stopping,))
    thread.start()
    file(ledger, 2)
    there.wait_for(1)
    ledger.advance(61)
    there.wait_for(2)
    stopping.set()
    thread.join()
