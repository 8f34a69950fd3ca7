"""The engine's process: `python -m loom.engine`. Several may run at once."""

from __future__ import annotations

from loom.broker.depths import Depths
from loom.broker.publisher import Publisher
from loom.clients.database import DatabaseClient
from loom.engine import agents, leases, replays, retention
from loom.engine.reconciler import SERVICE, Reconciler
from loom.engine.timers import Timer, keep_all
from loom.settings import BrokerSettings, LedgerClientSettings, ServiceSettings, load
from loom.settings.reconciliation import CountsSettings, ReconciliationSettings
from loom.settings.retention import RetentionSettings
from loom.telemetry import logs, process

log = logs.get(__name__)


def main() -> None:
    """Read the settings, wire, and run until told to stop."""
    service, counts = load(ServiceSettings), load(CountsSettings)
    broker = load(BrokerSettings) if counts.username else None
    rules, keeping = load(ReconciliationSettings), load(RetentionSettings)
    ledger = DatabaseClient.from_settings(load(LedgerClientSettings))
    stopping = process.start(SERVICE, service)
    timers = [
        Timer("expired leases", 1.0, lambda: leases.expire(ledger)),
        Timer("replays", 1.0, lambda: replays.advance(ledger)),
        Timer("silent agents", agents.EVERY_S, lambda: agents.forget(ledger)),
    ]
    timers.append(
        Timer("what is old", keeping.every_s, lambda: retention.forget(ledger, keeping.ages))
    )
    publisher = None
    if broker is not None:
        name = f"{SERVICE}-{service.instance}"
        publisher = Publisher(broker, name)
        reconciler = Reconciler(
            ledger,
            Depths(broker, name, counts.management_url).read,
            publisher.publish,
            grace_s=rules.grace_s,
            repair=rules.repair,
        )
        timers.append(Timer("reconciliation", rules.every_s, reconciler.look))
    else:
        log.warning("nothing_to_reconcile_with", why="LOOM_BROKER_USERNAME is not set")
    keep_all(timers, stopping)
    if publisher is not None:
        publisher.close()
    ledger.close()


if __name__ == "__main__":
    main()
