"""Webhooks: who is told of events, and what becomes of a delivery that was tried.

Decisions on values: the database service and its fake carry out the same ones.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit

from loom.domain.event import EventFilter, EventLine, check_patterns
from loom.domain.identity import check_project_id
from loom.errors import Invalid

SECRET_PREFIX = "whsec_"  # noqa: S105 - how every secret begins
MAX_URL = 2_000
MOST_WEBHOOKS = 200
TRIES = 12
BASE_S, CAP_S = 15.0, 4 * 3_600.0
"""The longest wait before each retry: 15 s, doubled each time, 4 h at most: 8 h in all."""
AT_ONCE = 2
"""How many deliveries of one webhook are under way at once."""
REST_AFTER = 5
"""Failures in a row after which a webhook rests, and then gets one delivery at a time."""
REST_BASE_S, REST_CAP_S = 30.0, 3_600.0
DISABLE_AFTER = 30
"""Failures in a row after which a webhook is switched off: most of a day, with its rests."""
KEPT_RESPONSE = 1_000
"""Characters of an answer that are kept."""
GONE = 410
PING = "webhook.ping"


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Webhook:
    """Somebody who is told. project_id: empty for all. types: patterns; none for all.

    reason: why it is not active, where Loom switched it off. failures: in a row. secret: known
    when it is made, and nowhere else.
    """

    id: str
    url: str
    project_id: str
    types: tuple[str, ...]
    active: bool
    reason: str
    failures: int
    created_by: str
    created_at: datetime
    updated_at: datetime
    resting_until: datetime | None = None
    last_ok_at: datetime | None = None
    pending: int = 0
    dead: int = 0
    secret: str = ""

    @property
    def host(self) -> str:
        """Whom it reaches; the rest of the URL may be secret."""
        return host_of(self.url)

    def takes(self, event: EventLine) -> bool:
        """Whether it is told of the event; of what becomes of itself it is not."""
        own = event.type.startswith("webhook.") and event.data.get("webhook_id") == self.id
        projects = frozenset({self.project_id}) if self.project_id else None
        return not own and EventFilter(projects, types=self.types).takes(event)


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """A webhook that somebody asks for. secret: empty to have one made."""

    url: str
    project_id: str = ""
    types: tuple[str, ...] = ()
    secret: str = ""


@dataclass(frozen=True, slots=True)
class WebhookChange:
    """What is to be otherwise; None leaves it."""

    url: str | None = None
    project_id: str | None = None
    types: tuple[str, ...] | None = None
    active: bool | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one webhook. tries: how often it was tried; the rest is of the last one.

    status: of the HTTP answer; 0: there was none. due_at: of the next try.
    """

    id: int
    webhook_id: str
    event_id: str
    type: str
    state: DeliveryState
    tries: int
    created_at: datetime
    due_at: datetime
    status: int = 0
    error: str = ""
    response: str = ""
    duration_ms: int = 0
    tried_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Errand:
    """A delivery that is leased to whoever carries it out."""

    delivery_id: int
    webhook_id: str
    url: str
    secret: str
    event: EventLine


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one try. status: 0 without an answer. retry_after_s: as the answer asks."""

    delivery_id: int
    status: int = 0
    error: str = ""
    response: str = ""
    duration_ms: int = 0
    retry_after_s: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether the webhook took it."""
        return not self.error and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a delivery and its webhook. rest_s: the webhook gets nothing meanwhile.

    disabled: why the webhook is switched off; empty: it is not.
    """

    state: DeliveryState
    delay_s: float = 0.0
    failures: int = 0
    rest_s: float = 0.0
    disabled: str = ""


def judge(tried: Tried, tries: int, failures: int, jitter: float) -> Verdict:
    """Decide after a try; tries: with it, failures: of the webhook before it; 0 <= jitter < 1.

    The wait before a retry is anywhere between nothing and its longest ('full jitter'), so that
    an endpoint that comes back is not met by all at once.
    """
    if tried.ok:
        return Verdict(DeliveryState.DELIVERED)
    failures += 1
    if tried.status == GONE:
        return Verdict(DeliveryState.DEAD, failures=failures, disabled="it answered 410 Gone")
    rest_s = 0.0
    if failures >= REST_AFTER:
        longest = min(REST_CAP_S, REST_BASE_S * 2.0 ** min(failures - REST_AFTER, 20))
        rest_s = longest * (0.5 + jitter / 2)
    disabled = f"{failures} deliveries in a row failed" if failures >= DISABLE_AFTER else ""
    if tries >= TRIES:
        return Verdict(DeliveryState.DEAD, 0.0, failures, rest_s, disabled)
    delay_s = jitter * min(CAP_S, BASE_S * 2.0 ** min(tries - 1, 20))
    delay_s = max(delay_s, min(tried.retry_after_s, REST_CAP_S))
    return Verdict(DeliveryState.PENDING, delay_s, failures, rest_s, disabled)


def told(tried: Tried) -> str:
    """What went wrong, in a few words."""
    return tried.error or f"it answered {tried.status}"


def new_secret() -> str:
    """A fresh secret: 256 bits, as Standard Webhooks writes them."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """The key that signs. Raises Invalid for what is no secret."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad_secret() from error
    if not secret.startswith(SECRET_PREFIX) or not 24 <= len(key) <= 64:
        raise _bad_secret()
    return key


def _bad_secret() -> Invalid:
    return Invalid(
        f"a secret is {SECRET_PREFIX} and 24 to 64 bytes in base64: leave it out, and one is made",
        field="secret",
    )


def host_of(url: str) -> str:
    """Whom a URL reaches, with its port."""
    return urlsplit(url).netloc.rpartition("@")[2]


def check_url(url: str) -> str:
    """Return the URL, or raise Invalid; where its host leads is looked at before each delivery."""
    fault = ""
    if len(url) > MAX_URL or not url.isascii() or not url.isprintable() or " " in url:
        fault = f"is at most {MAX_URL} printable ASCII characters"
    else:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise Invalid(f"url cannot be read: {error}", field="url") from error
        if parts.scheme not in ("https", "http") or not parts.hostname or port == 0:
            fault = "begins with https:// and names a host"
        elif "@" in parts.netloc:
            fault = "has no user or password in it"
        elif parts.fragment:
            fault = "has no fragment"
    if fault:
        raise Invalid(f"url {fault}", field="url")
    return url


def check_new(asked: NewWebhook) -> NewWebhook:
    """What is asked for, with a secret; or raise Invalid."""
    check_change(WebhookChange(asked.url, asked.project_id, asked.types))
    complete = replace(asked, secret=asked.secret or new_secret())
    key_of(complete.secret)
    return complete


def check_change(change: WebhookChange) -> WebhookChange:
    """Return the change, or raise Invalid."""
    if change.url is not None:
        check_url(change.url)
    if change.project_id:
        check_project_id(change.project_id)
    if change.types is not None:
        check_patterns(change.types)
    return change
