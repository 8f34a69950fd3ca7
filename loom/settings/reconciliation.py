"""How often ledger and broker are compared, and where the broker's counts are read."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from loom.domain.reconciliation import DEFAULT_GRACE_S, MAX_GRACE_S
from loom.settings.source import Settings


class ReconciliationSettings(Settings):
    """LOOM_RECONCILE_*: the engine's comparison of ledger and broker.

    repair: mend what two comparisons in a row have found.
    """

    model_config = SettingsConfigDict(env_prefix="LOOM_RECONCILE_")

    every_s: float = Field(default=30.0, gt=0)
    grace_s: float = Field(default=DEFAULT_GRACE_S, ge=0, le=MAX_GRACE_S)
    """Seconds that a dispatched bead may wait before its message is looked for."""
    repair: bool = True


class CountsSettings(Settings):
    """LOOM_BROKER_*: what more than BrokerSettings it takes to count messages.

    username: empty where the process is given no broker. management_url: RabbitMQ's management
    API, such as http://127.0.0.1:15672, which alone can say what is unacknowledged.
    """

    model_config = SettingsConfigDict(env_prefix="LOOM_BROKER_")

    username: str = ""
    management_url: str = ""
