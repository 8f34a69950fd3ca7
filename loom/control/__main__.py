"""Runs the control plane: `python -m loom.control`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from functools import partial

from flask import Flask

from loom.broker.depths import Depths
from loom.broker.state import Management
from loom.clients.artifacts import ArtifactClient
from loom.clients.breaker import Breaker
from loom.clients.database import SERVICE, DatabaseClient
from loom.control.app import create_app
from loom.control.broker import Look, nobody_tells
from loom.control.oidc import read_roles
from loom.control.pages import Links
from loom.control.readiness import serving
from loom.control.reconciliation import Read, no_broker
from loom.control.server import STOPPING, Server
from loom.domain.reconciliation import Depth
from loom.errors import LoomError
from loom.rpc.channel import connect
from loom.settings import (
    BrokerSettings,
    ControlSettings,
    DrillSettings,
    LedgerClientSettings,
    ServiceSettings,
    load,
)
from loom.settings.connectors import ArtifactClientSettings
from loom.settings.oidc import OidcSettings
from loom.settings.reconciliation import CountsSettings
from loom.telemetry import failpoints, logs, process, traces

log = logs.get(__name__)


def main() -> int:
    """Serve until SIGTERM; running requests end first."""
    try:
        service, control = load(ServiceSettings), load(ControlSettings)
        ledger, counts = load(LedgerClientSettings), load(CountsSettings)
        broker = load(BrokerSettings) if counts.username else None
        keeping, oidc = load(ArtifactClientSettings), load(OidcSettings)
        read_roles(oidc.roles)
    except LoomError as error:
        sys.stderr.write(f"loom.control: {error.detail}\n")
        return 1
    logs.configure("control", service.instance, service.log_level)
    failpoints.arm(load(DrillSettings))

    def make_app() -> Flask:
        traces.configure("control", service.instance, service.otlp_endpoint)
        channel = connect(ledger.target, ledger.token.get_secret_value())
        probe = serving(channel)
        # The API answers 503 meanwhile; the log says what it waits for.
        threading.Thread(
            target=process.wait_for, args=(SERVICE, probe, threading.Event()), daemon=True
        ).start()
        name = f"control-{service.instance}"
        client = DatabaseClient(channel, ledger.deadline_s)
        breakers = {"database": client.breaker}
        read: Read = no_broker
        look: Look = nobody_tells
        if broker:
            depths = Depths(broker, name, counts.management_url)
            breakers["broker"] = Breaker("the broker")
            read = _by_way_of(breakers["broker"], depths)
            if counts.management_url:
                look = Management(broker, counts.management_url).read
        if store := ArtifactClient.from_settings(keeping):
            breakers["connectors"] = store.breaker
        app = create_app(
            client,
            control,
            # By way of the breaker: who is told that it is ready gets through.
            {"database": partial(client.breaker.call, probe)},
            read,
            {part: partial(getattr, breaker, "state") for part, breaker in breakers.items()},
            store=store,
            stopping=STOPPING,
            links=Links(control.flower_url, control.broker_url, broker.vhost if broker else "loom"),
            oidc=oidc,
            look_at_broker=look,
        )
        process.keep_for_good()
        return app

    Server(control, make_app).run()
    return 0


def _by_way_of(breaker: Breaker, depths: Depths) -> Read:
    """Read the depths unless the broker was away a moment ago."""

    def read(queues: Sequence[str]) -> tuple[Depth, ...]:
        return breaker.call(partial(depths.read, queues))

    return read


if __name__ == "__main__":
    sys.exit(main())
