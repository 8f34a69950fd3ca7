"""What requests about webhooks may say."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from loom.control.requests.events import Pattern
from loom.control.requests.fields import ProjectId, by
from loom.control.requests.reading import STRICT, Paging
from loom.domain.event import MAX_PATTERNS
from loom.domain.webhook import (
    MAX_URL,
    DeliveryState,
    NewWebhook,
    WebhookChange,
    check_url,
    key_of,
)


def _check_secret(text: str) -> str:
    key_of(text)
    return text


Url = Annotated[
    str, StringConstraints(max_length=MAX_URL), by(check_url), Field(examples=["https://x.example"])
]
Secret = Annotated[str, StringConstraints(max_length=200), by(_check_secret)]
Types = Annotated[list[Pattern], Field(max_length=MAX_PATTERNS)]


class WebhookIn(BaseModel):
    """A webhook that is to be made. project_id: of that one alone. secret: else one is made."""

    model_config = STRICT

    url: Url
    project_id: ProjectId | None = None
    types: Types = []
    secret: Secret | None = None

    def asked(self) -> NewWebhook:
        """The same for the ledger."""
        return NewWebhook(self.url, self.project_id or "", tuple(self.types), self.secret or "")


class WebhookChangeIn(BaseModel):
    """What is to be otherwise; what is left out stays. project_id: empty for all."""

    model_config = STRICT

    url: Url | None = None
    project_id: ProjectId | Annotated[str, StringConstraints(max_length=0)] | None = None
    types: Types | None = None
    active: bool | None = None

    def change(self) -> WebhookChange:
        """The same for the ledger."""
        types = None if self.types is None else tuple(self.types)
        return WebhookChange(self.url, self.project_id, types, self.active)


class DeliveryQuery(Paging):
    """The query of a list of deliveries."""

    state: DeliveryState | None = None
