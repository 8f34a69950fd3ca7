"""Webhooks in the ledger: made, changed, removed; and what is owed to them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, delete, func, insert, text, update

from loom.database import audit, deliveries, projects, subscribers, tables
from loom.database.changes import Changes
from loom.database.steering import Run
from loom.database.writing import write
from loom.domain.audit import Intervention
from loom.domain.identity import new_message_id
from loom.domain.webhook import (
    MOST_WEBHOOKS,
    Delivery,
    Errand,
    NewWebhook,
    Tried,
    Webhook,
    WebhookChange,
    check_change,
    check_new,
)
from loom.errors import Conflict, IllegalTransition

LONGEST_WAIT_S = 5.0
POLL_S = 0.5
GATHER_S = 0.1
"""How long events gather before they are given out: a webhook is nobody's hurry."""
ANSWER_S = 0.2
TIDY_EVERY_S = 60.0

_BEGIN_NOW = text(
    """
    UPDATE webhook_feed
       SET era = event_era(), id = 0,
           xid = CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)
     WHERE NOT EXISTS (SELECT FROM webhook WHERE active)
    """
)


class Webhooks:
    """Commands on webhooks, each in one transaction."""

    def __init__(
        self, run: Run, count: Callable[[], int], wait: Callable[[int, float], bool]
    ) -> None:
        """count: grows whenever there may be more events; wait: until it is another."""
        self._run, self._count, self._wait = run, count, wait
        self._lock = threading.Lock()
        self._tidied_at = float("-inf")

    def create(self, asked: NewWebhook, by: Intervention, time_left_s: float) -> Webhook:
        """Make a webhook, which is told of what happens from now on. Raises Invalid, NotFound."""
        wanted = check_new(asked)
        id_ = f"wh-{new_message_id()}"

        def work(connection: Connection) -> Webhook:
            if wanted.project_id:
                projects.get(connection, wanted.project_id)
            if len(subscribers.every(connection)) >= MOST_WEBHOOKS:
                raise too_many()
            connection.execute(_BEGIN_NOW)
            connection.execute(
                insert(tables.webhook).values(
                    id=id_, url=wanted.url, project_id=wanted.project_id,
                    types=list(wanted.types), secret=wanted.secret, active=True, reason="",
                    failures=0, created_by=by.actor,
                )
            )  # fmt: skip
            made = subscribers.get(connection, id_)
            _note(connection, by, "created", made)
            return replace(made, secret=wanted.secret)

        return self._run(work, time_left_s)

    def get(self, id_: str, time_left_s: float) -> Webhook:
        """One webhook. Raises NotFound."""
        return self._run(lambda c: subscribers.get(c, id_), time_left_s)

    def every(self, time_left_s: float) -> tuple[Webhook, ...]:
        """All of them, in the order in which they were made."""
        return self._run(subscribers.every, time_left_s)

    def change(
        self, id_: str, change: WebhookChange, by: Intervention, time_left_s: float
    ) -> Webhook:
        """Change a webhook; as it is then. Raises NotFound, Invalid."""
        check_change(change)

        def work(connection: Connection) -> Webhook:
            before = subscribers.get(connection, id_)
            if change.project_id:
                projects.get(connection, change.project_id)
            values = changed(before, change)
            if not values:
                return before
            if change.active:
                connection.execute(_BEGIN_NOW)
            connection.execute(
                update(tables.webhook)
                .where(tables.webhook.c.id == id_)
                .values(**values, updated_at=func.clock_timestamp())
            )
            after = subscribers.get(connection, id_)
            _note(connection, by, "changed", after)
            return after

        return self._run(work, time_left_s)

    def remove(self, id_: str, by: Intervention, time_left_s: float) -> None:
        """Remove a webhook with its deliveries. Raises NotFound."""

        def work(connection: Connection) -> None:
            before = subscribers.get(connection, id_)
            connection.execute(delete(tables.webhook).where(tables.webhook.c.id == id_))
            _note(connection, by, "removed", before)

        self._run(work, time_left_s)

    def ping(self, id_: str, by: Intervention, time_left_s: float) -> Delivery:
        """Owe it a delivery that tells of nothing. Raises NotFound, IllegalTransition."""

        def work(connection: Connection) -> Delivery:
            check_ping(subscribers.get(connection, id_))
            connection.execute(
                update(tables.webhook).where(tables.webhook.c.id == id_).values(resting_until=None)
            )
            audit.note(connection, by, "webhook.ping", id_)
            return deliveries.ping(connection, id_)

        return self._run(work, time_left_s, tells=True)

    def page(
        self, id_: str, state: str, size: int, after: str, time_left_s: float
    ) -> tuple[tuple[Delivery, ...], str]:
        """Deliveries of a webhook, newest first, and the next cursor."""

        def work(connection: Connection) -> tuple[tuple[Delivery, ...], str]:
            subscribers.get(connection, id_)
            return deliveries.page(connection, id_, state, size, after)

        return self._run(work, time_left_s)

    def delivery(self, webhook_id: str, id_: int, time_left_s: float) -> Delivery:
        """One delivery. Raises NotFound."""
        return self._run(lambda c: deliveries.get(c, webhook_id, id_), time_left_s)

    def steer(
        self, webhook_id: str, id_: int, by: Intervention, time_left_s: float, *, discard: bool
    ) -> int:
        """Owe ended deliveries again, or give dead ones up; how many."""

        def work(connection: Connection) -> int:
            subscribers.get(connection, webhook_id)
            act = deliveries.discard if discard else deliveries.redeliver
            count = act(connection, webhook_id, id_)
            detail = {"delivery_id": id_, "deliveries": count}
            action = "webhook.discard" if discard else "webhook.redeliver"
            audit.note(connection, by, action, webhook_id, detail)
            return count

        return self._run(work, time_left_s, tells=True)

    def lease(
        self, owner: str, limit: int, lease_s: float, wait_s: float, time_left_s: float
    ) -> list[Errand]:
        """Deliveries that are due, leased to owner, after new events were given out."""
        deliveries.check_lease(owner, limit, lease_s)
        ends = time.monotonic() + time_left_s
        give_up = time.monotonic() + min(wait_s, LONGEST_WAIT_S, time_left_s - ANSWER_S)
        while True:
            count = self._count()

            def work(connection: Connection) -> list[Errand]:
                deliveries.give_out(connection, subscribers.active(connection))
                return deliveries.lease(connection, owner, limit, lease_s)

            leased = self._run(work, ends - time.monotonic())
            left_s = give_up - time.monotonic()
            if leased or left_s <= 0 or not self._wait(count, min(left_s, POLL_S)):
                self._tidy(ends - time.monotonic())
                return leased
            # What happens together is given out together: the trip goes on meanwhile.
            time.sleep(min(GATHER_S, max(0.0, left_s)))

    def settle(self, owner: str, tried: Sequence[Tried], time_left_s: float) -> int:
        """Take what came of leased deliveries; how many were still the owner's."""
        return self._run(lambda c: deliveries.settle(c, owner, tried), time_left_s, tells=True)

    def _tidy(self, time_left_s: float) -> None:
        """Forget deliveries that ended long ago, now and then."""
        with self._lock:
            if time.monotonic() - self._tidied_at < TIDY_EVERY_S:
                return
            self._tidied_at = time.monotonic()
        self._run(deliveries.forget, time_left_s)


def changed(before: Webhook, change: WebhookChange) -> dict[str, Any]:
    """The columns that are to be otherwise. Switched on again, its failures are forgotten."""
    wished: dict[str, Any] = {
        "url": change.url,
        "project_id": change.project_id,
        "types": list(change.types) if change.types is not None else None,
        "active": change.active,
    }
    had = {"types": list(before.types)}
    values = {
        name: value
        for name, value in wished.items()
        if value is not None and value != had.get(name, getattr(before, name))
    }
    if change.active is not None and "active" in values:
        values |= {"reason": "", "failures": 0, "resting_until": None}
    return values


def too_many() -> Conflict:
    """There may be no more webhooks."""
    return Conflict(f"there are {MOST_WEBHOOKS} webhooks: remove one that nobody needs")


def check_ping(found: Webhook) -> None:
    """Raise IllegalTransition where nothing would be sent."""
    if not found.active:
        raise IllegalTransition(
            f"webhook {found.id} is switched off ({found.reason or 'by a person'}): switch it on "
            "first",
            webhook_id=found.id,
        )


def _note(connection: Connection, by: Intervention, what: str, about: Webhook) -> None:
    write(
        connection,
        Changes(events=(subscribers.event(what, about, by.correlation_id, by=by.actor),)),
    )
    detail = {"host": about.host, "project_id": about.project_id, "types": list(about.types)}
    audit.note(connection, by, f"webhook.{what}", about.id, detail | {"active": about.active})
