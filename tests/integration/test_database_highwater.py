"""A full outbox: nothing more is accepted until the broker has taken some, and nothing is lost."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator

import pytest

from loom.database import migrate
from loom.domain.bead import NewBead
from loom.domain.project import Project
from loom.errors import Exhausted
from loom.testing.database import RunningDatabase, running_database
from loom.testing.infrastructure import Infrastructure

PATIENCE_S = 30.0


@pytest.fixture
def database(
    infrastructure: Infrastructure, request: pytest.FixtureRequest
) -> Iterator[RunningDatabase]:
    """A service whose outbox is full at ten rows, on a database of the test's own."""
    name = f"highwater_{zlib.crc32(request.node.name.encode())}"
    settings = infrastructure.make_database(name)
    migrate.upgrade(infrastructure.migration_named(name))
    with running_database(settings.model_copy(update={"outbox_high_water": 10})) as running:
        yield running


def test_beads_are_accepted_up_to_the_mark_and_again_once_the_broker_took_some(
    database: RunningDatabase,
) -> None:
    control, dispatcher = database.client("control"), database.client("dispatcher")
    control.create_project(Project("shop", "/srv/git/shop.git"), "corr-0")
    first = control.create_beads("shop", [NewBead("Do it")], "corr-1", idempotency=("key", "f"))
    accepted = [*first.items]
    with pytest.raises(Exhausted, match="nothing was stored") as refused:
        for _ in range(10):
            accepted += control.create_beads("shop", [NewBead("Do it")], "corr-2").items
    assert refused.value.data["limit"] == "10"
    assert 4 <= len(accepted) <= 5
    again = control.create_beads("shop", [NewBead("Do it")], "corr-1", idempotency=("key", "f"))
    assert again.replayed
    assert again.items[0].id == first.items[0].id
    assert {bead.id for bead in control.list_beads("shop").items} == {b.id for b in accepted}

    rows = dispatcher.lease_outbox("test", 100)
    dispatcher.settle_outbox("test", [row.id for row in rows])
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            control.create_beads("shop", [NewBead("Do it")], "corr-3")
        except Exhausted:
            assert time.monotonic() < give_up_at
        else:
            break


def test_what_is_filed_between_two_counts_is_counted_in(database: RunningDatabase) -> None:
    control, dispatcher = database.client("control"), database.client("dispatcher")
    control.create_project(Project("mill", "/srv/git/mill.git"), "corr-0")
    rows = dispatcher.lease_outbox("test", 100)
    dispatcher.settle_outbox("test", [row.id for row in rows])
    many = [NewBead("Do it")] * 50
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            control.create_beads("mill", many, "corr-4")
        except Exhausted:
            assert time.monotonic() < give_up_at
        else:
            break
    with pytest.raises(Exhausted):
        control.create_beads("mill", [NewBead("Do it")], "corr-5")
