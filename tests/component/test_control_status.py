"""How the whole of Loom is, as the control plane tells it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from control_api import BEARER, PROJECT, Api

from loom.control.app import create_app
from loom.control.status import Seen, services
from loom.domain.reconciliation import Depth
from loom.domain.statistics import Flow, ProjectFlow
from loom.errors import Unavailable
from loom.messaging.topology import RESULTS_QUEUE
from loom.rpc.callers import digest
from loom.settings import ControlSettings

NOW = datetime.now(UTC)


def states(flow: Flow, seen: Seen, **parts: str) -> dict[str, str]:
    return {each.name: each.state for each in services(parts, {"connectors": "closed"}, flow, seen)}


def results(ready: int) -> Seen:
    return Seen((Depth(RESULTS_QUEUE, ready),))


def test_what_a_service_leaves_lying_tells_that_it_does_not_keep_up() -> None:
    well = states(Flow(NOW), results(0), database="")
    assert set(well.values()) == {"ready"}

    late = Flow(NOW, (ProjectFlow("shop", overdue=2),), events_owed=3, oldest_event_s=60.0)
    found = states(late, results(5_000), database="it does not answer")
    assert found == well | {
        "database": "away", "dispatcher": "late", "ingester": "late", "engine": "late",
    }  # fmt: skip


def test_a_broker_that_is_away_leaves_it_open_how_the_ingester_is() -> None:
    found = states(Flow(NOW), Seen(why="nobody listens"), database="")
    assert (found["broker"], found["ingester"]) == ("away", "unknown")


def test_the_status_counts_what_waits_where() -> None:
    def read(queues: Sequence[str]) -> tuple[Depth, ...]:
        return tuple(Depth(queue, 1, 0) for queue in queues)

    api = Api()
    settings = ControlSettings(token_sha256=digest("a token"))
    api.client = create_app(api.ledger, settings, read_depths=read).test_client()
    api.client.post("/api/v1/projects", json=PROJECT, headers=BEARER)
    api.client.post("/api/v1/projects/shop/beads", json={"title": "x"}, headers=BEARER)

    answer = api.client.get("/api/v1/status", headers=BEARER).get_json()

    assert (answer["beads"]["open"], answer["outbox"]["tasks"]) == (1, 1)
    assert answer["unaccounted"] == 0
    assert {each["queue"] for each in answer["queues"]} >= {"loom.tasks.shop", "loom.dead.shop"}


def test_the_status_is_told_while_the_broker_is_away() -> None:
    def read(_queues: Sequence[str]) -> tuple[Depth, ...]:
        raise Unavailable("nobody listens")

    api = Api()
    settings = ControlSettings(token_sha256=digest("a token"))
    api.client = create_app(api.ledger, settings, read_depths=read).test_client()

    answer = api.client.get("/api/v1/status", headers=BEARER).get_json()

    assert (answer["ready"], answer["unaccounted"], answer["queues"]) == (False, None, [])
