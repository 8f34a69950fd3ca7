"""Webhooks and their deliveries as the contract's messages, and back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from loom.domain.audit import Intervention, check_intervention
from loom.domain.webhook import Delivery, DeliveryState, Errand, Tried, Webhook, WebhookChange
from loom.rpc import codec, events
from loom.rpc.v1 import webhooks_pb2 as pb


def webhook_to_pb(webhook: Webhook) -> pb.Webhook:
    """A webhook."""
    return pb.Webhook(
        id=webhook.id, url=webhook.url, project_id=webhook.project_id, types=webhook.types,
        active=webhook.active, reason=webhook.reason, failures=webhook.failures,
        created_by=webhook.created_by, created_at=codec.stamp(webhook.created_at),
        updated_at=codec.stamp(webhook.updated_at),
        resting_until=codec.stamp(webhook.resting_until),
        last_ok_at=codec.stamp(webhook.last_ok_at), pending=webhook.pending, dead=webhook.dead,
        secret=webhook.secret,
    )  # fmt: skip


def webhook_from_pb(webhook: pb.Webhook) -> Webhook:
    """A webhook."""
    return Webhook(
        id=webhook.id, url=webhook.url, project_id=webhook.project_id,
        types=tuple(webhook.types), active=webhook.active, reason=webhook.reason,
        failures=webhook.failures, created_by=webhook.created_by,
        created_at=codec.moment(webhook.created_at), updated_at=codec.moment(webhook.updated_at),
        resting_until=_moment(webhook.HasField, "resting_until", webhook.resting_until),
        last_ok_at=_moment(webhook.HasField, "last_ok_at", webhook.last_ok_at),
        pending=webhook.pending, dead=webhook.dead, secret=webhook.secret,
    )  # fmt: skip


def delivery_to_pb(delivery: Delivery) -> pb.Delivery:
    """A delivery."""
    return pb.Delivery(
        id=delivery.id, webhook_id=delivery.webhook_id, event_id=delivery.event_id,
        type=delivery.type, state=delivery.state.value, tries=delivery.tries,
        created_at=codec.stamp(delivery.created_at), due_at=codec.stamp(delivery.due_at),
        status=delivery.status, error=delivery.error, response=delivery.response,
        duration_ms=delivery.duration_ms, tried_at=codec.stamp(delivery.tried_at),
        ended_at=codec.stamp(delivery.ended_at),
    )  # fmt: skip


def delivery_from_pb(delivery: pb.Delivery) -> Delivery:
    """A delivery."""
    return Delivery(
        id=delivery.id, webhook_id=delivery.webhook_id, event_id=delivery.event_id,
        type=delivery.type, state=DeliveryState(delivery.state), tries=delivery.tries,
        created_at=codec.moment(delivery.created_at), due_at=codec.moment(delivery.due_at),
        status=delivery.status, error=delivery.error, response=delivery.response,
        duration_ms=delivery.duration_ms,
        tried_at=_moment(delivery.HasField, "tried_at", delivery.tried_at),
        ended_at=_moment(delivery.HasField, "ended_at", delivery.ended_at),
    )  # fmt: skip


def _moment(has: Callable[..., bool], field: str, stamp: Timestamp) -> datetime | None:
    return codec.moment(stamp) if has(field) else None


def change_to_pb(id_: str, change: WebhookChange, by: Intervention) -> pb.ChangeWebhookRequest:
    """What is to be otherwise."""
    return pb.ChangeWebhookRequest(
        id=id_, url=change.url, project_id=change.project_id, active=change.active,
        changes_types=change.types is not None, types=change.types or (), by=actor_to_pb(by),
    )  # fmt: skip


def change_from_pb(change: pb.ChangeWebhookRequest) -> WebhookChange:
    """What is to be otherwise."""
    return WebhookChange(
        url=change.url if change.HasField("url") else None,
        project_id=change.project_id if change.HasField("project_id") else None,
        types=tuple(change.types) if change.changes_types else None,
        active=change.active if change.HasField("active") else None,
    )


def actor_to_pb(by: Intervention) -> pb.WebhookActor:
    """Who does it, and why."""
    return pb.WebhookActor(
        actor=by.actor,
        reason=by.reason,
        correlation_id=by.correlation_id,
        traceparent=by.traceparent,
    )


def actor_from_pb(by: pb.WebhookActor, caller: str) -> Intervention:
    """Who does it, and why. Raises Invalid."""
    return check_intervention(
        Intervention(by.actor or caller, by.reason, by.correlation_id, by.traceparent)
    )


def errand_to_pb(errand: Errand) -> pb.LeasedDelivery:
    """A leased delivery."""
    return pb.LeasedDelivery(
        delivery_id=errand.delivery_id,
        webhook_id=errand.webhook_id,
        url=errand.url,
        secret=errand.secret,
        event=events.event_to_pb(errand.event),
    )


def errand_from_pb(errand: pb.LeasedDelivery) -> Errand:
    """A leased delivery."""
    return Errand(
        errand.delivery_id,
        errand.webhook_id,
        errand.url,
        errand.secret,
        events.event_from_pb(errand.event),
    )


def tried_to_pb(tried: Tried) -> pb.TriedDelivery:
    """What came of one try."""
    return pb.TriedDelivery(
        delivery_id=tried.delivery_id, status=tried.status, error=tried.error,
        response=tried.response, duration_ms=tried.duration_ms,
        retry_after_s=tried.retry_after_s,
    )  # fmt: skip


def tried_from_pb(tried: pb.TriedDelivery) -> Tried:
    """What came of one try."""
    return Tried(
        delivery_id=tried.delivery_id, status=tried.status, error=tried.error,
        response=tried.response, duration_ms=tried.duration_ms,
        retry_after_s=tried.retry_after_s,
    )  # fmt: skip
