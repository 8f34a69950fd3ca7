"""Webhooks and their deliveries: one suite for the ledger in memory and the real one."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import pytest
from test_event_contract import PATIENCE_S, journal, types
from test_ledger_contract import World, real, world

from loom.domain.audit import Intervention
from loom.domain.webhook import (
    AT_ONCE,
    DISABLE_AFTER,
    PING,
    REST_AFTER,
    TRIES,
    Delivery,
    DeliveryState,
    Errand,
    NewWebhook,
    Tried,
    Webhook,
    WebhookChange,
)
from loom.errors import IllegalTransition, Invalid, NotFound

__all__ = ["real", "world"]

BY = Intervention("ada", "the chat wants to know", "corr")
URL = "https://chat.example/hooks?key=hidden"
PENDING, DELIVERED = DeliveryState.PENDING, DeliveryState.DELIVERED
DEAD, DISCARDED = DeliveryState.DEAD, DeliveryState.DISCARDED
DAY_S = 86_400.0


def hook(world: World, url: str = URL, **words: Any) -> Webhook:
    made: Webhook = world.control.create_webhook(NewWebhook(url, **words), BY)
    return made


def lease(world: World, count: int = 1, owner: str = "c", limit: int = 100) -> list[Errand]:
    """So many deliveries, once they are owed; fewer only if they do not come."""
    found: list[Errand] = []
    give_up = time.monotonic() + PATIENCE_S
    while len(found) < count and time.monotonic() < give_up:
        found += world.connectors.lease_deliveries(owner, limit, 60.0, 100)
    assert len(found) == count
    return found


def nothing_due(world: World) -> bool:
    return not world.connectors.lease_deliveries("other", 100, 60.0)


def settle(world: World, errands: Iterable[Errand], owner: str = "c", **how: Any) -> int:
    words = {"status": 200} | how
    tried = [Tried(errand.delivery_id, **words) for errand in errands]
    settled: int = world.connectors.settle_deliveries(owner, tried)
    return settled


def fail(world: World, times: int, **how: Any) -> None:
    """Let one delivery fail so often, whatever it has to wait for in between."""
    for _ in range(times):
        settle(world, lease(world), **({"status": 500} | how))
        world.advance(DAY_S)


def deliveries(world: World, made: Webhook, state: str = "") -> tuple[Delivery, ...]:
    found: tuple[Delivery, ...] = world.control.list_deliveries(made.id, state).items
    return found


def seen(world: World, made: Webhook) -> Webhook:
    found: Webhook = world.control.get_webhook(made.id)
    return found


# Made, shown, changed, removed.


def test_the_secret_is_told_once(world: World) -> None:
    made = hook(world)
    assert made.secret.startswith("whsec_")
    assert seen(world, made).secret == ""
    assert [each.secret for each in world.control.list_webhooks()] == [""]
    own = hook(world, secret="whsec_" + "A" * 32)
    assert own.secret == "whsec_" + "A" * 32
    assert made.secret != hook(world).secret


def test_a_webhook_is_known_as_it_was_asked_for(world: World) -> None:
    world.project()
    made = seen(world, hook(world, project_id="alpha", types=("bead.closed", "agent.*")))
    assert (made.url, made.project_id, made.types) == (URL, "alpha", ("bead.closed", "agent.*"))
    assert (made.active, made.failures, made.created_by) == (True, 0, "ada")
    assert made.host == "chat.example"


@pytest.mark.parametrize(
    "words",
    [
        {"url": "ftp://x.example"}, {"url": "https://"}, {"url": "https://a:b@x.example"},
        {"url": "https://x.example/#a"}, {"url": "https://x.example/ a"}, {"url": "x" * 3000},
        {"url": "https://x.example:99999"}, {"types": ("nothing",)}, {"secret": "short"},
        {"secret": "whsec_AAAA"}, {"project_id": "No"},
    ],
)  # fmt: skip
def test_a_webhook_that_cannot_be_is_refused(world: World, words: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        world.control.create_webhook(NewWebhook(**{"url": URL} | words), BY)


def test_a_webhook_needs_a_project_that_there_is(world: World) -> None:
    with pytest.raises(NotFound):
        hook(world, project_id="nothing")
    made = hook(world)
    with pytest.raises(NotFound):
        world.control.change_webhook(made.id, WebhookChange(project_id="nothing"), BY)


def test_a_change_changes_what_it_names(world: World) -> None:
    made = hook(world, types=("bead.*",))
    other = "https://other.example/"
    after = world.control.change_webhook(made.id, WebhookChange(url=other), BY)
    assert (after.url, after.types, after.active) == (other, ("bead.*",), True)
    after = world.control.change_webhook(made.id, WebhookChange(types=(), active=False), BY)
    assert (after.url, after.types, after.active) == (other, (), False)


def test_what_people_do_is_told_and_noted_without_the_whole_address(world: World) -> None:
    made = hook(world)
    world.control.change_webhook(made.id, WebhookChange(active=False), BY)
    world.control.remove_webhook(made.id, BY)
    told = journal(world, "webhook.removed", types=("webhook.*",))
    assert types(told) == ["webhook.created", "webhook.changed", "webhook.removed"]
    assert {event.data["host"] for event in told} == {"chat.example"}
    trail = world.control.list_audit(target=made.id).items
    assert [line.action for line in trail] == types(told)[::-1]
    assert "hidden" not in str(told) + str(trail)


def test_what_is_not_there_is_not_found(world: World) -> None:
    made = hook(world)
    for ask in (
        lambda: world.control.get_webhook("wh-nothing"),
        lambda: world.control.change_webhook("wh-nothing", WebhookChange(), BY),
        lambda: world.control.remove_webhook("wh-nothing", BY),
        lambda: world.control.ping_webhook("wh-nothing", BY),
        lambda: world.control.list_deliveries("wh-nothing"),
        lambda: world.control.redeliver("wh-nothing", BY),
        lambda: world.control.get_delivery(made.id, 10**12),
        lambda: world.control.redeliver(made.id, BY, 10**12),
    ):
        with pytest.raises(NotFound):
            ask()


# Owed and carried out.


def test_an_event_is_owed_to_who_wants_it_and_once(world: World) -> None:
    world.project()
    world.project("beta")
    journal(world, "project.created")
    some = hook(world, types=("bead.created", "project.*"))
    beads = hook(world, types=("bead.*",))
    hook(world, project_id="beta", types=("bead.*",))
    bead = world.bead()
    errands = lease(world, 2)
    assert {errand.webhook_id for errand in errands} == {some.id, beads.id}
    assert {errand.event.bead_id for errand in errands} == {bead.id}
    assert {errand.event.type for errand in errands} == {"bead.created"}
    secrets = {some.id: some.secret, beads.id: beads.secret}
    assert all(e.secret == secrets[e.webhook_id] and e.url == URL for e in errands)
    assert nothing_due(world)


def test_a_webhook_hears_of_others_and_not_of_itself(world: World) -> None:
    first = hook(world)
    second = hook(world)
    (errand,) = lease(world)
    assert errand.webhook_id == first.id
    assert errand.event.data["webhook_id"] == second.id


def test_a_delivery_is_leased_once_and_again_when_its_lease_has_run_out(world: World) -> None:
    hook(world, types=("bead.*",))
    world.project()
    world.bead()
    (errand,) = lease(world)
    assert nothing_due(world)
    world.advance(61)
    (again,) = lease(world, owner="other")
    assert again.delivery_id == errand.delivery_id
    assert settle(world, [errand], owner="c") == 0
    assert settle(world, [again], owner="other") == 1
    assert settle(world, [again], owner="other") == 0


def test_a_delivered_event_is_done(world: World) -> None:
    made = hook(world, types=("bead.*",))
    world.project()
    world.bead()
    settle(world, lease(world), status=204, response="", duration_ms=12)
    (done,) = deliveries(world, made)
    assert (done.state, done.tries, done.status, done.duration_ms) == (DELIVERED, 1, 204, 12)
    assert done.ended_at is not None
    assert (done.type, seen(world, made).last_ok_at is not None) == ("bead.created", True)
    world.advance(DAY_S)
    assert nothing_due(world)


def test_few_of_one_webhook_are_under_way_at_once_and_others_go_on(world: World) -> None:
    world.project()
    slow = hook(world, types=("bead.*",))
    world.file(*"abcdef")
    busy = lease(world, AT_ONCE)
    assert {errand.webhook_id for errand in busy} == {slow.id}
    quick = hook(world, types=("bead.*",))
    world.bead()
    (errand,) = lease(world)
    assert errand.webhook_id == quick.id
    settle(world, busy[:1])
    assert lease(world)[0].webhook_id == slow.id


def test_what_failed_is_tried_again_later_and_keeps_its_id(world: World) -> None:
    made = hook(world, types=("bead.*",))
    world.project()
    world.bead()
    (first,) = lease(world)
    settle(world, [first], status=503, response="busy", retry_after_s=600)
    assert nothing_due(world)
    (waiting,) = deliveries(world, made)
    assert (waiting.state, waiting.tries, waiting.status) == (PENDING, 1, 503)
    assert waiting.response == "busy"
    assert seen(world, made).failures == 1
    world.advance(601)
    (second,) = lease(world)
    assert second.event.id == first.event.id
    settle(world, [second])
    assert deliveries(world, made)[0].tries == 2
    assert seen(world, made).failures == 0


def test_after_its_last_try_a_delivery_is_dead_and_can_be_sent_again_or_given_up(
    world: World,
) -> None:
    made = hook(world, types=("bead.*",))
    world.project()
    world.bead()
    fail(world, TRIES, status=0, error="it could not be reached")
    assert nothing_due(world)
    (dead,) = deliveries(world, made, "dead")
    assert (dead.state, dead.tries, dead.error) == (DEAD, TRIES, "it could not be reached")
    told = journal(world, "webhook.delivery_dead", types=("webhook.delivery_dead",))
    assert told[0].data["delivery_id"] == dead.id
    assert seen(world, made).dead == 1
    assert world.control.redeliver(made.id, BY) == 1
    settle(world, lease(world))
    assert deliveries(world, made)[0].state is DELIVERED
    assert world.control.redeliver(made.id, BY, dead.id) == 1
    world.control.discard_deliveries(made.id, BY)
    with pytest.raises(IllegalTransition):
        world.control.discard_deliveries(made.id, BY, dead.id)
    fail(world, TRIES)
    assert world.control.discard_deliveries(made.id, BY, dead.id) == 1
    assert deliveries(world, made)[0].state is DISCARDED


def test_a_webhook_that_fails_rests_and_then_gets_one_at_a_time(world: World) -> None:
    made = hook(world, types=("bead.*",))
    world.project()
    world.file(*(str(n) for n in range(REST_AFTER + 2)))
    for n in range(REST_AFTER):
        world.advance(DAY_S if n else 0)
        settle(world, lease(world, limit=1), status=500)
    resting = seen(world, made)
    assert resting.failures == REST_AFTER
    assert resting.resting_until is not None
    assert nothing_due(world)
    world.advance(DAY_S)
    lease(world, 1)
    assert nothing_due(world)


def test_a_webhook_that_goes_on_failing_is_switched_off_with_the_reason(world: World) -> None:
    made = hook(world, types=("bead.*",))
    world.project()
    world.file(*(str(n) for n in range(DISABLE_AFTER)))
    for _ in range(DISABLE_AFTER * 2):
        errands = world.connectors.lease_deliveries("c", 1, 60.0, 100)
        settle(world, errands, status=500)
        world.advance(DAY_S)
        if not seen(world, made).active:
            break
    off = seen(world, made)
    assert (off.active, off.failures) == (False, DISABLE_AFTER)
    assert "in a row failed" in off.reason
    assert off.pending > 0
    assert nothing_due(world)
    told = journal(world, "webhook.disabled", types=("webhook.disabled",))
    assert told[0].data["reason"] == off.reason
    with pytest.raises(IllegalTransition, match="switched off"):
        world.control.ping_webhook(made.id, BY)
    on = world.control.change_webhook(made.id, WebhookChange(active=True), BY)
    assert (on.active, on.failures, on.reason, on.resting_until) == (True, 0, "", None)
    settle(world, lease(world, AT_ONCE))


def test_a_webhook_that_says_it_is_gone_is_switched_off_at_once(world: World) -> None:
    made = hook(world, types=("bead.*",))
    world.project()
    world.bead()
    settle(world, lease(world), status=410)
    assert not seen(world, made).active
    assert deliveries(world, made)[0].state is DEAD


def test_what_happens_while_it_is_off_is_not_owed_to_it_later(world: World) -> None:
    made = hook(world, types=("bead.*",))
    world.project()
    world.control.change_webhook(made.id, WebhookChange(active=False), BY)
    world.bead()
    journal(world, "bead.created")
    world.control.change_webhook(made.id, WebhookChange(active=True), BY)
    journal(world, "webhook.changed", "webhook.changed")
    bead = world.bead()
    (errand,) = lease(world)
    assert errand.event.bead_id == bead.id


def test_a_ping_is_delivered_as_any_event(world: World) -> None:
    made = hook(world, types=("bead.*",))
    ping = world.control.ping_webhook(made.id, BY)
    assert (ping.type, ping.state) == (PING, PENDING)
    (errand,) = lease(world)
    assert (errand.event.id, errand.event.type) == (ping.event_id, PING)
    assert errand.event.data["webhook_id"] == made.id
    settle(world, [errand])
    assert world.control.get_delivery(made.id, ping.id).state is DELIVERED


def test_a_removed_webhook_takes_its_deliveries_along(world: World) -> None:
    made = hook(world, types=("bead.*",))
    world.project()
    world.bead()
    errands = lease(world)
    world.control.remove_webhook(made.id, BY)
    assert settle(world, errands) == 0
    assert world.control.list_webhooks() == ()


def test_deliveries_are_listed_newest_first_in_pages(world: World) -> None:
    made = hook(world, types=("bead.*",))
    for _ in range(5):
        world.control.ping_webhook(made.id, BY)
    first = world.control.list_deliveries(made.id, page_size=3)
    rest = world.control.list_deliveries(made.id, page_size=3, cursor=first.next_cursor)
    ids = [each.id for each in (*first.items, *rest.items)]
    assert (ids, len(ids), rest.next_cursor) == (sorted(ids, reverse=True), 5, "")
    assert len(deliveries(world, made, "pending")) == 5
    assert deliveries(world, made, "dead") == ()
    with pytest.raises(Invalid):
        deliveries(world, made, "nothing")


@pytest.mark.parametrize(("owner", "limit", "lease_s"), [("", 1, 1), ("c", 0, 1), ("c", 1, 0)])
def test_a_lease_says_who_has_it_and_for_how_long(
    world: World, owner: str, limit: int, lease_s: float
) -> None:
    with pytest.raises(Invalid):
        world.connectors.lease_deliveries(owner, limit, lease_s)
