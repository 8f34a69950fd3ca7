"""Every setting of every service: read once at the edge, frozen, and passed."""

from loom.settings.agent import AgentSettings
from loom.settings.broker import BrokerSettings
from loom.settings.control import ControlSettings
from loom.settings.drill import DrillSettings
from loom.settings.ledger import LedgerClientSettings, LedgerSettings
from loom.settings.service import ServiceSettings
from loom.settings.source import load

__all__ = [
    "AgentSettings",
    "BrokerSettings",
    "ControlSettings",
    "DrillSettings",
    "LedgerClientSettings",
    "LedgerSettings",
    "ServiceSettings",
    "load",
]
