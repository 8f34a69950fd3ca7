"""Where deliveries may go, how they are signed, and what becomes of a try."""

from __future__ import annotations

import base64
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom.connectors.outside import Refused, check_address
from loom.domain import signature
from loom.domain.webhook import (
    CAP_S,
    DISABLE_AFTER,
    REST_AFTER,
    TRIES,
    DeliveryState,
    Tried,
    judge,
    new_secret,
)

SECRET = new_secret()


# Where they may go.


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


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the deliverer look often whether it is to stop."""
    monkeypatch.setattr("loom.connectors.deliverer.WAIT_MS", 50)
