"""The dispatcher's process: `python -m loom.dispatcher`."""

from __future__ import annotations

import threading

from loom.broker.declare import declare
from loom.broker.publisher import Publisher
from loom.broker.taking import take
from loom.clients.database import DatabaseClient
from loom.dispatcher.dispatcher import Dispatcher
from loom.dispatcher.sweeper import Sweeper
from loom.domain.identity import new_message_id
from loom.settings import BrokerSettings, LedgerClientSettings, ServiceSettings, load
from loom.telemetry import process

SERVICE = "dispatcher"


def main() -> None:
    """Read the settings, wire, and run until told to stop."""
    service, broker = load(ServiceSettings), load(BrokerSettings)
    ledger = DatabaseClient.from_settings(load(LedgerClientSettings))
    stopping = process.start(SERVICE, service)
    publisher = Publisher(broker, f"{SERVICE}-{service.instance}")
    dispatcher = Dispatcher(
        ledger,
        publisher.publish,
        lambda topologies: declare(broker, SERVICE, topologies),
        owner=f"{SERVICE}-{service.instance}-{new_message_id()}",
        timeout_s=broker.timeout_s,
    )
    name = f"{SERVICE}-{service.instance}"
    sweeper = Sweeper(ledger, lambda queue, wanted: take(broker, name, queue, wanted))
    sweeping = threading.Thread(target=sweeper.run, args=(stopping,), name="sweeper")
    sweeping.start()
    try:
        dispatcher.run(stopping)
    except process.Stopped:
        pass
    finally:
        stopping.set()
        sweeping.join()
        publisher.close()
        ledger.close()


if __name__ == "__main__":
    main()
