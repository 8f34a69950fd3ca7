"""The journal's order under transactions that overlap, and after a restore from a dump."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from loom.database import journal, migrate, pool
from loom.domain.event import START, EventFilter, Place
from loom.settings.ledger import MigrationSettings
from loom.testing.infrastructure import Infrastructure

WRITERS = 3
INSERT = (
    "INSERT INTO event (message_id, type, project_id, bead_id, epoch, data, correlation_id) "
    "VALUES (%s, 'bead.created', 'p', '', 0, '{}', '')"
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "commit", "roll back", "read"]),
        st.integers(0, WRITERS - 1),
    ),
    max_size=30,
)


class World:
    """Writers that leave their transactions open, and somebody who reads."""

    def __init__(self, owner: MigrationSettings, reader: Engine) -> None:
        self.reader = reader
        self.writers = [connect(owner) for _ in range(WRITERS)]
        self.number = 0
        self.begin()

    def begin(self) -> None:
        """Forget what was before."""
        for writer in self.writers:
            writer.rollback()
        self.pending: list[list[str]] = [[] for _ in self.writers]
        self.committed: set[str] = set()
        self.read_so_far: list[str] = []
        self.place = self.horizon()

    def horizon(self) -> Place:
        with self.reader.connect() as connection:
            return journal.horizon(connection)

    def do(self, what: str, who: int) -> None:
        if what == "write":
            self.number += 1
            name = f"{who}.{self.number}"
            self.writers[who].execute(INSERT, (name,))
            self.pending[who].append(name)
        elif what == "read":
            self.read()
        else:
            if what == "commit":
                self.writers[who].commit()
                self.committed |= set(self.pending[who])
            else:
                self.writers[who].rollback()
            self.pending[who] = []

    def read(self) -> None:
        with self.reader.connect() as connection:
            page = journal.read(connection, EventFilter(), self.place, 2)
        self.read_so_far += [event.id for event in page.events]
        assert page.place >= self.place
        self.place = page.place

    def close(self) -> None:
        for writer in self.writers:
            writer.close()


def connect(owner: MigrationSettings) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=owner.host, port=owner.port, dbname=owner.name, user=owner.user,
        password=owner.password.get_secret_value(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def owner(infrastructure: Infrastructure) -> MigrationSettings:
    infrastructure.make_database("journal_order")
    settings = infrastructure.migration_named("journal_order")
    migrate.upgrade(settings)
    return settings


@pytest.fixture(scope="module")
def reader(infrastructure: Infrastructure, owner: MigrationSettings) -> Iterator[Engine]:
    engine = pool.make_engine(pool.direct_url(infrastructure.database_named(owner.name)), 2)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def world(owner: MigrationSettings, reader: Engine) -> Iterator[World]:
    made = World(owner, reader)
    yield made
    made.close()


def test_an_event_of_a_transaction_that_ends_late_is_told_all_the_same(world: World) -> None:
    """Ids are given in one order and come to be seen in another: a reader by ids would lose 0.1."""
    world.begin()
    for what, who in (("write", 0), ("write", 1), ("commit", 1), ("read", 0), ("commit", 0)):
        world.do(what, who)
    while len(world.read_so_far) < 2:
        world.read()
    assert [name[0] for name in world.read_so_far] == ["0", "1"]


@given(STEPS)
def test_whatever_overlaps_every_event_is_read_once(
    world: World, steps: list[tuple[str, int]]
) -> None:
    world.begin()
    for what, who in steps:
        world.do(what, who)
    for who in range(WRITERS):
        world.do("commit", who)
    # What other databases of this server write holds the horizon back for a moment.
    while len(world.read_so_far) < len(world.committed):
        world.read()
    world.read()
    assert len(world.read_so_far) == len(set(world.read_so_far))
    assert set(world.read_so_far) == world.committed


def test_the_newest_first_is_the_same_order_the_other_way_round(world: World) -> None:
    world.begin()
    for who in (2, 0, 1):
        world.do("write", who)
    for who in (1, 2, 0):
        world.do("commit", who)
    while len(world.read_so_far) < 3:
        world.read()
    with world.reader.connect() as connection:
        page = journal.read(connection, EventFilter(), journal.END, 3, newest_first=True)
    assert [event.id for event in page.events] == world.read_so_far[::-1]


def test_after_a_restore_from_a_dump_new_events_come_after_the_old_ones(
    owner: MigrationSettings, reader: Engine
) -> None:
    """A dump keeps the numbers of transactions in its rows; the new server begins to count anew."""
    with connect(owner) as sql:
        sql.execute(INSERT, ("old",))
        sql.execute("UPDATE event SET xid = xid + 1000000 WHERE message_id = 'old'")
        sql.commit()
        (era,) = sql.execute("SELECT event_era()").fetchone() or (0,)
        migrate.upgrade(owner)
        sql.execute(INSERT, ("new",))
        sql.commit()
        assert sql.execute("SELECT event_era()").fetchone() == (era + 1,)
        migrate.upgrade(owner)
        assert sql.execute("SELECT event_era()").fetchone() == (era + 1,)
        sql.commit()
    place, found = START, list[str]()
    while "new" not in found:
        with reader.connect() as connection:
            page = journal.read(connection, EventFilter(), place, 500)
        place = page.place
        found += [event.id for event in page.events]
    assert found[-2:] == ["old", "new"]
