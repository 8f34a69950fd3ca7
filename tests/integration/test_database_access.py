"""The audit trail's chain and who may read what, on PostgreSQL: what was there before, at once, and
what the database's own roles may not do.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from loom.database import migrate
from loom.domain.access import Role
from loom.domain.account import User
from loom.domain.audit import Intervention
from loom.domain.auditchain import Check, Verdict
from loom.domain.bead import NewBead
from loom.domain.project import Project
from loom.errors import Forbidden
from loom.settings import LedgerSettings
from loom.testing.database import RunningDatabase, running_database
from loom.testing.infrastructure import Infrastructure

NAME = "database_access"
BY = Intervention("ada", "she asked for it", "corr")
OLD = """
INSERT INTO audit (actor, action, target, reason, correlation_id, detail)
SELECT 'ada', 'bead.cancel', 'bd-' || n, 'it is old', '',
       '{"letters": 1.5, "a": [1e21, 1e-07, null, "ü\\u0001"], "of": {"bb": 1, "a": true}}'
  FROM generate_series(1, 3) AS n
"""


def login(settings: LedgerSettings, user: str, password: str) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=settings.direct_host, port=settings.direct_port, dbname=settings.name, user=user,
        password=password, autocommit=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def settings(infrastructure: Infrastructure) -> LedgerSettings:
    """A ledger with a trail from before it was chained."""
    made = infrastructure.make_database(NAME)
    migration = infrastructure.migration_named(NAME)
    migrate.upgrade(migration, "0010")
    with login(made, migration.user, migration.password.get_secret_value()) as owner:
        owner.execute(OLD)
    migrate.upgrade(migration)
    return made


@pytest.fixture(scope="module")
def owner(
    infrastructure: Infrastructure, settings: LedgerSettings
) -> Iterator[psycopg.Connection[Any]]:
    migration = infrastructure.migration_named(NAME)
    with login(settings, migration.user, migration.password.get_secret_value()) as connection:
        yield connection


@pytest.fixture(scope="module")
def running(settings: LedgerSettings) -> Iterator[RunningDatabase]:
    with running_database(settings) as database:
        database.client("control").create_project(Project("alpha", "/r"), "corr")
        yield database


def checked(database: RunningDatabase) -> Verdict:
    client, check = database.client("control"), Check()
    lines, head = client.read_audit(limit=1_000)
    check.take(lines)
    return check.end(head)


def beads(database: RunningDatabase, count: int) -> list[str]:
    filed = database.client("control").create_beads("alpha", [NewBead("x")] * count, "corr")
    return [bead.id for bead in filed.items]


def test_lines_from_before_the_chain_have_their_places_in_it(running: RunningDatabase) -> None:
    verdict = checked(running)
    assert not verdict.broken, verdict.why
    assert verdict.lines >= 3
    assert running.client("control").read_audit(limit=3)[0][2].line.target == "bd-3"


def test_lines_that_are_written_at_once_make_one_chain_without_gaps(
    running: RunningDatabase,
) -> None:
    before = checked(running).lines
    client = running.client("control")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda id_: client.cancel_bead(id_, BY), beads(running, 24)))
    verdict = checked(running)
    assert (verdict.broken, verdict.lines) == (0, before + 24)


@pytest.mark.parametrize(
    ("change", "back", "why"),
    [
        ("UPDATE audit SET reason = 'none' WHERE id = 2",
         "UPDATE audit SET reason = 'it is old' WHERE id = 2", "something else"),
        ("UPDATE audit_chain SET audit_id = -2 WHERE place = 2",
         "UPDATE audit_chain SET audit_id = 2 WHERE place = 2", "is missing"),
        ("UPDATE audit_head SET place = place + 1", "UPDATE audit_head SET place = place - 1",
         "the trail ends at"),
    ],
)  # fmt: skip
def test_what_the_owner_of_the_database_changes_is_found(
    running: RunningDatabase, owner: psycopg.Connection[Any], change: str, back: str, why: str
) -> None:
    owner.execute(change)
    try:
        verdict = checked(running)
        assert verdict.broken
        assert why in verdict.why
    finally:
        owner.execute(back)
    assert not checked(running).broken


def test_the_service_may_neither_change_the_trail_nor_write_its_chain(
    settings: LedgerSettings, running: RunningDatabase
) -> None:
    with login(settings, settings.user, settings.password.get_secret_value()) as service:
        for statement in (
            "UPDATE audit SET actor = 'x'", "DELETE FROM audit", "UPDATE audit_chain SET hash = ''",
            "DELETE FROM audit_chain", "UPDATE audit_head SET place = 0",
            "INSERT INTO audit_chain VALUES (9, 9, '', '')",
            "SELECT audit_link(a) FROM audit a",
            "ALTER TABLE audit DISABLE TRIGGER audit_is_chained",
        ):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                service.execute(statement)
    assert not checked(running).broken


def test_the_role_of_queries_sees_no_hash_of_a_secret(settings: LedgerSettings) -> None:
    password = settings.reader_password.get_secret_value()
    with login(settings, settings.reader_user, password) as reader:
        reader.execute("SELECT name, role FROM person")
        for statement in (
            "SELECT password_hash FROM person", "SELECT * FROM person",
            "SELECT digest FROM session", "SELECT digest FROM access_token",
        ):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement)


def test_the_control_plane_alone_is_believed_for_whom_it_asks(running: RunningDatabase) -> None:
    (first, second) = beads(running, 2)
    running.client("control").cancel_bead(first, BY)
    running.client("operator").cancel_bead(second, BY)
    lines = running.client("control").list_audit(action="bead.cancel", page_size=2).items
    assert [line.actor for line in lines] == ["operator", "ada"]


def test_only_the_control_plane_deals_with_logins_and_tokens(running: RunningDatabase) -> None:
    for caller in ("operator", "dispatcher", "ingester", "engine"):
        client = running.client(caller)
        for call in (
            lambda c=client: c.get_login("ada"),
            lambda c=client: c.get_identity(token_sha256="a" * 64),
            lambda c=client: c.create_user(User("eve", Role.ADMIN), "x", BY),
        ):
            with pytest.raises(Forbidden):
                call()
    assert running.client("operator").list_users().items == ()
