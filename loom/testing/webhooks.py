"""The part of FakeLedger about webhooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from loom.clients.answers import Page
from loom.database import cursor as cursors
from loom.database import deliveries, subscribers
from loom.database.changes import Changes
from loom.database.webhooks import changed, check_ping, too_many
from loom.domain.audit import Intervention, check_intervention
from loom.domain.event import EventLine
from loom.domain.identity import new_message_id
from loom.domain.project import Project
from loom.domain.webhook import (
    AT_ONCE,
    KEPT_RESPONSE,
    MOST_WEBHOOKS,
    PING,
    REST_AFTER,
    Delivery,
    DeliveryState,
    Errand,
    NewWebhook,
    Tried,
    Webhook,
    WebhookChange,
    check_change,
    check_new,
    judge,
)

PENDING, DEAD = DeliveryState.PENDING, DeliveryState.DEAD


@dataclass(slots=True)
class _Owed:
    delivery: Delivery
    event: EventLine
    owner: str = ""
    leased_until: datetime | None = None


class FakeWebhooks:
    """Calls about webhooks, on memory."""

    _lock: Any
    _added: Any
    _now: datetime
    _journal: list[EventLine]
    _jitter: Callable[[], float]
    _apply: Callable[[Changes], None]
    _note: Callable[..., None]
    _tick: Callable[[], datetime]
    get_project: Callable[[str], Project]

    def __init__(self) -> None:
        self._hooks: dict[str, Webhook] = {}
        self._owed: list[_Owed] = []
        self._given = 0

    def create_webhook(self, asked: NewWebhook, by: Intervention) -> Webhook:
        """As the client."""
        check_intervention(by)
        wanted = check_new(asked)
        with self._lock:
            if wanted.project_id:
                self.get_project(wanted.project_id)
            if len(self._hooks) >= MOST_WEBHOOKS:
                raise too_many()
            self._begin_now()
            at = self._tick()
            made = Webhook(
                id=f"wh-{new_message_id()}", url=wanted.url, project_id=wanted.project_id,
                types=wanted.types, active=True, reason="", failures=0, created_by=by.actor,
                created_at=at, updated_at=at, secret=wanted.secret,
            )  # fmt: skip
            self._hooks[made.id] = made
            self._tell_hook(by, "created", made)
            return made

    def get_webhook(self, id_: str) -> Webhook:
        """As the client."""
        with self._lock:
            if id_ not in self._hooks:
                raise subscribers.missing(id_)
            return self._shown(self._hooks[id_])

    def list_webhooks(self) -> tuple[Webhook, ...]:
        """As the client."""
        with self._lock:
            return tuple(map(self._shown, self._hooks.values()))

    def change_webhook(self, id_: str, change: WebhookChange, by: Intervention) -> Webhook:
        """As the client."""
        check_intervention(by)
        check_change(change)
        with self._lock:
            before = self.get_webhook(id_)
            if change.project_id:
                self.get_project(change.project_id)
            values = changed(before, change)
            if values:
                if change.active:
                    self._begin_now()
                values["types"] = tuple(values.get("types", before.types))
                self._hooks[id_] = replace(self._hooks[id_], **values, updated_at=self._tick())
                self._tell_hook(by, "changed", self._hooks[id_])
            return self.get_webhook(id_)

    def remove_webhook(self, id_: str, by: Intervention) -> None:
        """As the client."""
        check_intervention(by)
        with self._lock:
            before = self.get_webhook(id_)
            del self._hooks[id_]
            self._owed = [each for each in self._owed if each.delivery.webhook_id != id_]
            self._tell_hook(by, "removed", before)

    def ping_webhook(self, id_: str, by: Intervention) -> Delivery:
        """As the client."""
        check_intervention(by)
        with self._lock:
            check_ping(self.get_webhook(id_))
            self._hooks[id_] = replace(self._hooks[id_], resting_until=None)
            self._note(by, "webhook.ping", id_)
            message_id = new_message_id()
            return self._owe_delivery(id_, deliveries.pinging(message_id, id_, self._now), PING)

    def list_deliveries(
        self, webhook_id: str, state: str = "", page_size: int = 50, cursor: str = ""
    ) -> Page[Delivery]:
        """As the client."""
        size = cursors.page_size(page_size, deliveries.PAGE, deliveries.LARGEST_PAGE)
        deliveries.check_state(state)
        before = cursors.read(cursor, int)[0] if cursor else len(self._owed) + 1
        with self._lock:
            self.get_webhook(webhook_id)
            found = [
                each.delivery
                for each in reversed(self._owed)
                if each.delivery.webhook_id == webhook_id
                and state in ("", each.delivery.state.value)
                and each.delivery.id < int(before)
            ]
        more = cursors.write(found[size - 1].id) if len(found) > size else ""
        return Page(tuple(found[:size]), more)

    def get_delivery(self, webhook_id: str, id_: int) -> Delivery:
        """As the client."""
        with self._lock:
            for each in self._owed:
                if (each.delivery.webhook_id, each.delivery.id) == (webhook_id, id_):
                    return each.delivery
        raise deliveries.missing(webhook_id, id_)

    def redeliver(self, webhook_id: str, by: Intervention, id_: int = 0) -> int:
        """As the client."""
        with self._lock:
            chosen = self._chosen(webhook_id, by, id_)
            ended = [e for e in chosen if e.delivery.state is not PENDING]
            for each in ended:
                each.owner, each.leased_until = "", None
                each.delivery = replace(
                    each.delivery, state=PENDING, tries=0, due_at=self._now, ended_at=None
                )
            self._note(by, "webhook.redeliver", webhook_id, delivery_id=id_, deliveries=len(ended))
            return len(ended)

    def discard_deliveries(self, webhook_id: str, by: Intervention, id_: int = 0) -> int:
        """As the client."""
        with self._lock:
            chosen = self._chosen(webhook_id, by, id_)
            for each in chosen if id_ else ():
                deliveries.check_discard(each.delivery)
            dead = [e for e in chosen if e.delivery.state is DEAD]
            for each in dead:
                each.delivery = replace(each.delivery, state=DeliveryState.DISCARDED)
            self._note(by, "webhook.discard", webhook_id, delivery_id=id_, deliveries=len(dead))
            return len(dead)

    def _chosen(self, webhook_id: str, by: Intervention, id_: int) -> list[_Owed]:
        check_intervention(by)
        self.get_webhook(webhook_id)
        if id_:
            self.get_delivery(webhook_id, id_)
        mine = [each for each in self._owed if each.delivery.webhook_id == webhook_id]
        if id_:
            return [each for each in mine if each.delivery.id == id_]
        return [each for each in mine if each.delivery.state is DEAD]

    def lease_deliveries(
        self, owner: str, limit: int, lease_s: float, wait_ms: int = 0
    ) -> tuple[Errand, ...]:
        """As the client."""
        deliveries.check_lease(owner, limit, lease_s)
        with self._added:
            leased = self._lease_deliveries(owner, limit, lease_s)
            if not leased and wait_ms:
                self._added.wait(wait_ms / 1000)
                leased = self._lease_deliveries(owner, limit, lease_s)
            return tuple(leased)

    def _lease_deliveries(self, owner: str, limit: int, lease_s: float) -> list[Errand]:
        self._give_out()
        errands: list[Errand] = []
        for each in sorted(self._owed, key=lambda e: (e.delivery.due_at, e.delivery.id)):
            hook = self._hooks[each.delivery.webhook_id]
            resting = hook.resting_until is not None and hook.resting_until > self._now
            underway = sum(
                other.leased_until is not None and other.leased_until > self._now
                for other in self._owed
                if other.delivery.webhook_id == hook.id and other.delivery.state is PENDING
            )
            free = (1 if hook.failures >= REST_AFTER else AT_ONCE) - underway
            due = (
                each.delivery.state is PENDING
                and each.delivery.due_at <= self._now
                and (each.leased_until is None or each.leased_until <= self._now)
            )
            if hook.active and not resting and free > 0 and due and len(errands) < limit:
                each.owner = owner
                each.leased_until = self._now + timedelta(seconds=lease_s)
                errands.append(Errand(each.delivery.id, hook.id, hook.url, hook.secret, each.event))
        return errands

    def settle_deliveries(self, owner: str, tried: Sequence[Tried]) -> int:
        """As the client."""
        settled = 0
        with self._lock:
            for one in tried:
                for each in self._owed:
                    mine = each.delivery.id == one.delivery_id and each.owner == owner
                    if mine and each.delivery.state is PENDING:
                        settled += 1
                        self._settle_delivery(each, one)
            self._added.notify_all()
        return settled

    def _settle_delivery(self, each: _Owed, tried: Tried) -> None:
        hook = self._hooks[each.delivery.webhook_id]
        verdict = judge(tried, each.delivery.tries + 1, hook.failures, self._jitter())
        each.owner, each.leased_until = "", None
        each.delivery = replace(
            each.delivery, state=verdict.state, tries=each.delivery.tries + 1,
            status=tried.status, error=tried.error[:KEPT_RESPONSE],
            response=tried.response[:KEPT_RESPONSE], duration_ms=tried.duration_ms,
            tried_at=self._now, due_at=self._now + timedelta(seconds=verdict.delay_s),
            ended_at=None if verdict.state is PENDING else self._now,
        )  # fmt: skip
        rests = self._now + timedelta(seconds=verdict.rest_s) if verdict.rest_s else None
        after = replace(
            hook, failures=verdict.failures, active=hook.active and not verdict.disabled,
            reason=verdict.disabled or hook.reason, resting_until=rests,
            last_ok_at=hook.last_ok_at if verdict.failures else self._now,
        )  # fmt: skip
        self._hooks[hook.id] = after
        message_id = each.delivery.event_id
        if verdict.state is DEAD:
            told = deliveries.dead(after, each.delivery.id, message_id, tried)
            self._apply(Changes(events=(told,)))
        if verdict.disabled and hook.active:
            told = subscribers.event("disabled", after, message_id, reason=verdict.disabled)
            self._apply(Changes(events=(told,)))

    def _give_out(self) -> None:
        active = [hook for hook in self._hooks.values() if hook.active]
        if not active:
            return
        fresh, self._given = self._journal[self._given :], len(self._journal)
        for event in fresh:
            for hook in active:
                if event.at >= hook.created_at and hook.takes(event):
                    self._owe_delivery(hook.id, event, event.type)

    def _owe_delivery(self, webhook_id: str, event: EventLine, type_: str) -> Delivery:
        made = Delivery(
            len(self._owed) + 1, webhook_id, event.id, type_, PENDING, 0, self._now, self._now
        )
        self._owed.append(_Owed(made, event))
        self._added.notify_all()
        return made

    def _begin_now(self) -> None:
        if not any(hook.active for hook in self._hooks.values()):
            self._given = len(self._journal)

    def _shown(self, hook: Webhook) -> Webhook:
        states = [e.delivery.state for e in self._owed if e.delivery.webhook_id == hook.id]
        return replace(hook, secret="", pending=states.count(PENDING), dead=states.count(DEAD))

    def _tell_hook(self, by: Intervention, what: str, about: Webhook) -> None:
        told = subscribers.event(what, about, by.correlation_id, by=by.actor)
        self._apply(Changes(events=(told,)))
        self._note(
            by, f"webhook.{what}", about.id, host=about.host, project_id=about.project_id,
            active=about.active,
        )  # fmt: skip
