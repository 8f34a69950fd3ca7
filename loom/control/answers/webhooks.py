"""Webhooks and what became of their deliveries."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from loom.control.answers.answer import Answer, Count, Moment, NextCursor, Path
from loom.domain.webhook import DeliveryState


class WebhookLinks(Answer):
    """What can be done."""

    self: Path
    deliveries: Path
    test: Path


class WebhookOut(Answer):
    """Somebody who is told of events."""

    id: str
    url: str
    project_id: Annotated[str | None, Field(description="of which it is told; null: of all")]
    types: Annotated[list[str], Field(description="patterns, as bead.*; none: all")]
    active: bool
    reason: Annotated[str, Field(description="why Loom switched it off")]
    failures: Annotated[Count, Field(description="in a row")]
    resting_until: Moment | None
    last_ok_at: Moment | None
    pending: Count
    dead: Count
    created_by: str
    created_at: Moment
    updated_at: Moment
    secret: Annotated[str | None, Field(description="in the answer that makes it, and in no other")]
    links: WebhookLinks


class WebhooksOut(Answer):
    """All webhooks, in the order in which they were made."""

    webhooks: list[WebhookOut]


class DeliveryLinks(Answer):
    """What can be done."""

    self: Path
    webhook: Path
    redeliver: Path
    discard: Path


class DeliveryOut(Answer):
    """One event for one webhook, and what came of its last try."""

    id: Count
    webhook_id: str
    event_id: str
    type: str
    state: DeliveryState
    tries: Count
    due_at: Moment
    status: Annotated[int | None, Field(description="of the HTTP answer; null: there was none")]
    error: str
    response: Annotated[str, Field(description="its beginning")]
    duration_ms: Count
    created_at: Moment
    tried_at: Moment | None
    ended_at: Moment | None
    links: DeliveryLinks


class DeliveryPageOut(Answer):
    """Some deliveries, newest first."""

    deliveries: list[DeliveryOut]
    next_cursor: NextCursor


class SteeredOut(Answer):
    """How many deliveries it was done to."""

    deliveries: Count
