"""The engine's process: `python -m loom.engine`. Several may run at once."""

from __future__ import annotations

from loom.clients.database import DatabaseClient
from loom.engine import leases
from loom.engine.timers import Timer, keep_all
from loom.settings import LedgerClientSettings, ServiceSettings, load
from loom.telemetry import process

SERVICE = "engine"


def main() -> None:
    """Read the settings, wire, and run until told to stop."""
    service = load(ServiceSettings)
    ledger = DatabaseClient.from_settings(load(LedgerClientSettings))
    stopping = process.start(SERVICE, service)
    keep_all([Timer("expired leases", 1.0, lambda: leases.expire(ledger))], stopping)
    ledger.close()


if __name__ == "__main__":
    main()
