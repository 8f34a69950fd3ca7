"""The ingester's process: `python -m loom.ingester`."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

from loom.broker.consumer import Consumer
from loom.broker.declare import declare
from loom.broker.publisher import Publisher
from loom.clients.database import DatabaseClient
from loom.ingester.burial import Undertaker
from loom.ingester.intake import PREFETCH, consume
from loom.ingester.letters import Letters
from loom.ingester.lines import Lines
from loom.ingester.results import Results
from loom.messaging.topology import CORE, DEAD_LEDGER_QUEUE, LOG_LINES_QUEUE, RESULTS_QUEUE
from loom.settings import BrokerSettings, LedgerClientSettings, ServiceSettings, load
from loom.telemetry import process

SERVICE = "ingester"


def main() -> None:
    """Read the settings, wire, and run until told to stop."""
    service, broker = load(ServiceSettings), load(BrokerSettings)
    ledger = DatabaseClient.from_settings(load(LedgerClientSettings))
    stopping = process.start(SERVICE, service)
    name = f"{SERVICE}-{service.instance}"
    publisher = Publisher(broker, name)

    def declare_core() -> None:
        declare(broker, SERVICE, [CORE])

    undertaker = Undertaker(publisher.publish, declare_core, broker.timeout_s)
    handlers = {
        RESULTS_QUEUE: Results(ledger, undertaker).handle,
        DEAD_LEDGER_QUEUE: Letters(ledger).handle,
        LOG_LINES_QUEUE: Lines(ledger).handle,
    }
    with ThreadPoolExecutor(len(handlers), thread_name_prefix=SERVICE) as pool:
        intakes = [
            pool.submit(
                consume, Consumer(broker, name, queue, PREFETCH), declare_core, handle, stopping
            )
            for queue, handle in handlers.items()
        ]
        # An intake ends early by a fault alone: the process ends with it, to be started again.
        wait(intakes, return_when=FIRST_COMPLETED)
        stopping.set()
    publisher.close()
    ledger.close()
    for intake in intakes:
        intake.result()


if __name__ == "__main__":
    main()
