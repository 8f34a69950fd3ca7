"""The pages of webhooks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from page_world import Desk

from loom.control.pages.webhooks import state_of
from loom.domain.access import Role
from loom.domain.audit import Intervention
from loom.domain.webhook import NewWebhook

EVE = Intervention("eve", "a test")
HOUR = timedelta(hours=1)
LATER = datetime.now(UTC) + HOUR


@pytest.fixture(scope="module")
def desk() -> Desk:
    return Desk().fill()


@pytest.fixture
def path(desk: Desk) -> str:
    (hook,) = desk.api.ledger.list_webhooks()
    return f"/events/webhooks/{hook.id}"


def test_a_webhook_is_shown_with_whom_it_tells_of_what(desk: Desk) -> None:
    page = desk.page("/events/webhooks")
    for told in ("chat.test", "bead.*", "of", "zoo"):
        assert told in page.words()
    assert "whsec_" not in page.words()


def test_the_secret_of_a_new_webhook_has_a_place_that_no_refresh_empties(desk: Desk) -> None:
    page = desk.page("/events/webhooks")
    (form,) = page.all("form", data_to="/api/v1/webhooks")
    (place,) = page.all(id=form.attributes["data-answer"])
    assert "data-live" not in place.attributes


def test_without_a_webhook_the_page_says_how_to_make_one() -> None:
    words = Desk().page("/events/webhooks").words()
    assert "Nobody is told of anything yet" in words
    assert "loom webhook add" in words


def test_deliveries_are_shown_with_their_tries_and_what_was_answered(desk: Desk, path: str) -> None:
    page = desk.page(path)
    for told in ("webhook.ping", "410", "dead", "1 of 12", "pending", "not tried yet"):
        assert told in page.words()
    rows = [row.attributes["id"] for row in page.all("tr", data_row="")]
    assert rows == ["row-2", "row-1"]


def test_a_dead_delivery_can_be_sent_again_and_one_under_way_not(desk: Desk, path: str) -> None:
    targets = {
        each.attributes["data-to"] for each in desk.page(path).all("button", data_act="POST")
    }
    deliveries = path.replace("/events", "/api/v1") + "/deliveries"
    assert {f"{deliveries}/1/redeliver", f"{deliveries}/redeliver"} <= targets
    assert f"{deliveries}/2/redeliver" not in targets


def test_deliveries_are_narrowed_to_one_state(desk: Desk, path: str) -> None:
    rows = [row.attributes["id"] for row in desk.page(f"{path}?state=dead").all("tr", data_row="")]
    assert rows == ["row-1"]
    assert "No delivery is delivered" in desk.page(f"{path}?state=delivered").words()
    assert len(list(desk.page(f"{path}?state=odd").all("tr", data_row=""))) == 2


def test_a_webhook_that_is_not_there_is_not_found(desk: Desk) -> None:
    assert desk.get("/events/webhooks/wh-none").status_code == 404


def test_webhooks_are_for_admins_of_everything(desk: Desk, path: str) -> None:
    for roles in ({"role": Role.OPERATOR}, {"zoo": Role.ADMIN}):
        for each in ("/events/webhooks", path):
            assert desk.get(each, **desk.token(**roles)).status_code == 403
    assert not list(desk.page("/events", **desk.token(Role.VIEWER)).all(href="/events/webhooks"))


@pytest.mark.parametrize(
    ("how", "state"),
    [
        ({}, "active"),
        ({"failures": 1}, "failing"),
        ({"failures": 5, "resting_until": LATER}, "resting"),
        ({"failures": 5, "resting_until": LATER - 2 * HOUR}, "failing"),
        ({"active": False, "reason": "30 deliveries in a row failed"}, "off"),
        ({"active": False}, "paused"),
    ],
)
def test_the_state_of_a_webhook_tells_who_switched_it_off(how: dict[str, Any], state: str) -> None:
    hook = Desk().api.ledger.create_webhook(NewWebhook("https://chat.test/"), EVE)
    assert state_of(replace(hook, **how)) == state
