"""Webhooks on their whole way: the ledger, the connectors service as a process, a receiver."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from looking import until

from loom.database import migrate
from loom.domain import signature
from loom.domain.audit import Intervention
from loom.domain.bead import NewBead
from loom.domain.project import Project
from loom.domain.webhook import Delivery, DeliveryState, NewWebhook
from loom.testing.database import RunningDatabase, running_database, token
from loom.testing.infrastructure import Infrastructure
from loom.testing.receiver import PATIENCE_S, Receiver, receiver
from loom.testing.service import Service

BY = Intervention("ada", "the chat wants to know")


@pytest.fixture(scope="module")
def database(infrastructure: Infrastructure) -> Iterator[RunningDatabase]:
    settings = infrastructure.make_database("webhook_delivery")
    migrate.upgrade(infrastructure.migration_named("webhook_delivery"))
    with running_database(settings) as running:
        yield running


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def connectors(database: RunningDatabase, folder: Path, failpoints: str = "") -> Service:
    (folder / "tokens").write_text("")
    return Service(
        "loom.connectors",
        {
            "LOOM_CONNECTORS_LISTEN": "127.0.0.1:0",
            "LOOM_CONNECTORS_TOKENS_FILE": str(folder / "tokens"),
            "LOOM_CONNECTORS_FOLDER": str(folder / "artifacts"),
            "LOOM_LEDGER_TARGET": database.target,
            "LOOM_LEDGER_TOKEN": token("connectors"),
            "LOOM_WEBHOOKS_ALLOW": "127.0.0.1",
            "LOOM_WEBHOOKS_LEASE_S": "1",
            "LOOM_DRILL_SCRATCH": "true",
            "LOOM_DRILL_FAILPOINTS": failpoints,
        },
    )


def test_a_deliverer_that_is_killed_halfway_loses_nothing(
    database: RunningDatabase, there: Receiver, tmp_path: Path
) -> None:
    ledger = database.client("control")
    hook = ledger.create_webhook(NewWebhook(there.url(), types=("bead.*",)), BY)
    ledger.create_project(Project(id="alpha", repository="/srv/x.git"), "corr")
    (bead,) = ledger.create_beads("alpha", [NewBead("one")], "corr").items
    with connectors(database, tmp_path, "connectors.delivered=kill@1") as service:
        there.wait_for(1)
        service.read_to_end()
    (waiting,) = ledger.list_deliveries(hook.id).items
    assert (waiting.state, waiting.tries) == (DeliveryState.PENDING, 0)
    with connectors(database, tmp_path) as service:
        first, again = there.wait_for(2)
        done = delivered(database, waiting)
        assert service.stop() == 0
    assert first.headers["webhook-id"] == again.headers["webhook-id"] == done.event_id
    assert bead.id.encode() in again.body
    assert signature.verify(hook.secret, again.headers, again.body, time.time())


def delivered(database: RunningDatabase, owed: Delivery) -> Delivery:
    """The delivery, once it has arrived."""
    ledger = database.client("control")
    give_up = time.monotonic() + PATIENCE_S

    def is_delivered() -> bool:
        found = ledger.get_delivery(owed.webhook_id, owed.id)
        assert time.monotonic() < give_up, f"it was not settled: {found}"
        return found.state is DeliveryState.DELIVERED

    until(is_delivered)
    return ledger.get_delivery(owed.webhook_id, owed.id)
