"""The pages of webhooks: who is told of events, how that goes, and what became of each delivery."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from loom.control.operation import Within, operation
from loom.control.pages import frame
from loom.control.pages.desk import Desk
from loom.domain.access import Role
from loom.domain.event import TYPES
from loom.domain.webhook import (
    DISABLE_AFTER,
    REST_AFTER,
    TRIES,
    DeliveryState,
    Webhook,
)

ROWS = 50
HERE = "/events/webhooks"
FAMILIES = tuple(dict.fromkeys(f"{type_.partition('.')[0]}.*" for type_ in TYPES))
STATES: dict[str, Callable[[Webhook, datetime], bool]] = {
    "off": lambda hook, _: not hook.active and bool(hook.reason),
    "paused": lambda hook, _: not hook.active,
    "resting": lambda hook, now: hook.resting_until is not None and hook.resting_until > now,
    "failing": lambda hook, _: hook.failures > 0,
    "active": lambda *_: True,
}
"""How a webhook is: the first that holds. off: Loom switched it off; paused: somebody did."""


def routes(desk: Desk) -> Blueprint:
    """Show webhooks, and one of them with its deliveries."""
    pages = Blueprint("webhook_pages", __name__)

    @pages.get(HERE)
    @operation("The page of webhooks", page=True, needs=Role.ADMIN, within=Within.ALL)
    def index() -> Response:
        hooks = desk.ledger.list_webhooks()
        return frame.page(
            "webhooks.html",
            hooks=[(hook, state_of(hook)) for hook in hooks],
            pending=sum(hook.pending for hook in hooks),
            dead=sum(hook.dead for hook in hooks),
            projects=desk.projects(),
            patterns=(*FAMILIES, *TYPES),
        )

    @pages.get(f"{HERE}/<webhook_id>")
    @operation("The page of a webhook", page=True, needs=Role.ADMIN, within=Within.ALL)
    def show(webhook_id: str) -> Response:
        hook = desk.ledger.get_webhook(webhook_id)
        given, cursor = request.args.get("state", ""), request.args.get("cursor", "")
        state = given if given in tuple(DeliveryState) else ""
        page = desk.ledger.list_deliveries(hook.id, state, ROWS, cursor)
        here = f"{HERE}/{hook.id}"
        kept = {"state": state} if state else {}
        return frame.page(
            "webhook.html",
            hook=hook,
            is_=state_of(hook),
            now=datetime.now(UTC),
            deliveries=page.items,
            states=tuple(DeliveryState),
            state=state,
            tries=TRIES,
            rest_after=REST_AFTER,
            disable_after=DISABLE_AFTER,
            projects=desk.projects(),
            patterns=(*FAMILIES, *TYPES),
            next_path=f"{here}?{urlencode({**kept, 'cursor': page.next_cursor})}"
            if page.next_cursor
            else "",
            first_path=(f"{here}?{urlencode(kept)}" if kept else here) if cursor else "",
        )

    return pages


def state_of(hook: Webhook) -> str:
    """How it is, in a word."""
    now = datetime.now(UTC)
    return next(name for name, holds in STATES.items() if holds(hook, now))
