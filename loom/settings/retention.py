"""How long the ledger keeps what nobody needs any more."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import SettingsConfigDict

from loom.domain.retention import DAY_S, Ages
from loom.settings.source import Settings


def _never_or_a_day(days: float) -> float:
    if 0 < days < 1:
        raise ValueError("it has to be at least a day, or 0 for ever")
    return days


Days = Annotated[float, Field(ge=0, le=36_500), AfterValidator(_never_or_a_day)]


class RetentionSettings(Settings):
    """LOOM_RETENTION_*: the days after which the engine has things forgotten; 0: never."""

    model_config = SettingsConfigDict(env_prefix="LOOM_RETENTION_")

    log_days: Days = 14
    """Live logs, from the end of their attempt; whole logs are kept as artifacts."""
    inbox_days: Days = 30
    """Ids of results that were applied."""
    idempotency_days: Days = 7
    """Idempotency keys: how long a repeated request is answered as it was the first time."""
    query_audit_days: Days = 90
    """What operators asked of the tables; at least 30 days are kept, whatever this says."""
    every_s: float = Field(default=600.0, gt=0)

    @property
    def ages(self) -> Ages:
        """The same in seconds."""
        return Ages(
            self.log_days * DAY_S,
            self.inbox_days * DAY_S,
            self.idempotency_days * DAY_S,
            self.query_audit_days * DAY_S,
        )
