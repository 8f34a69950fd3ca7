"""The process `python -m loom.database`, its schema, and a database that goes away."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import StringIO
from pathlib import Path

import grpc
import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from click.testing import CliRunner
from sqlalchemy import create_engine

from loom.cli.db import db
from loom.clients.database import DatabaseClient
from loom.database import migrate, tables
from loom.domain.bead import NewBead
from loom.domain.project import Project
from loom.errors import DeadlineExceeded, Unavailable
from loom.rpc.callers import digest
from loom.rpc.channel import connect
from loom.settings import LedgerSettings
from loom.settings.ledger import MigrationSettings
from loom.telemetry import process
from loom.testing.database import RunningDatabase, running_database
from loom.testing.infrastructure import Infrastructure, private_infrastructure

SQUAWK = Path(sys.executable).with_name("squawk")
NOT_OURS = (
    # About tables in use, while these are new in the same transaction.
    "prefer-robust-stmts", "require-concurrent-index-creation", "require-timeout-settings",
    # A migration is one transaction, which builds and drops no index beside others' work.
    "require-concurrent-index-deletion",
    # A priority is 0 to 3, and alembic's own table is as alembic makes it.
    "prefer-bigint-over-smallint", "prefer-text-field",
)  # fmt: skip
_names = itertools.count(1)


@pytest.fixture(scope="module")
def servers() -> Iterator[Infrastructure]:
    """PostgreSQL and PgBouncer of this file's own, to be frozen and killed."""
    with private_infrastructure(only=("postgres", "pgbouncer")) as started:
        yield started


@pytest.fixture
def fresh(servers: Infrastructure) -> str:
    """The name of an empty database of the test's own."""
    name = f"own_{next(_names)}"
    servers.make_database(name)
    return name


def pid_of(servers: Infrastructure, name: str) -> int:
    (found,) = [p for p in servers.stack.supervisor.processes() if p.name == name]
    return found.pid


# The schema.


def test_the_migrations_make_the_tables_that_the_service_is_written_for(
    servers: Infrastructure, fresh: str
) -> None:
    login = servers.migration_named(fresh)
    assert migrate.upgrade(login) == ("", migrate.head())
    engine = create_engine(migrate.url(login))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                # Indexes and constraints stand in the migration alone.
                "include_object": lambda _o, _n, kind, *_: kind in ("table", "column"),
            },
        )
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()


def test_two_upgrades_at_once_make_the_schema_once(servers: Infrastructure, fresh: str) -> None:
    login = servers.migration_named(fresh)
    # In processes, since alembic keeps its context in a module.
    with ThreadPoolExecutor(3) as threads:
        codes = list(threads.map(lambda _: _migrate(login), range(3)))
    assert codes == [0, 0, 0]
    assert migrate.version(login) == migrate.head()


def _migrate(login: MigrationSettings) -> int:
    environment = os.environ | _variables("LOOM_MIGRATE_", login)
    answer = subprocess.run(
        [sys.executable, "-m", "loom.database.migrate"],
        env=environment, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    return answer.returncode


def test_the_schema_goes_down_and_up_again(servers: Infrastructure, fresh: str) -> None:
    login = servers.migration_named(fresh)
    migrate.upgrade(login)
    assert migrate.downgrade(login, "base") == (migrate.head(), "")
    assert migrate.upgrade(login) == ("", migrate.head())


def test_loom_db_tells_the_version_and_upgrades(
    servers: Infrastructure, fresh: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in _variables("LOOM_MIGRATE_", servers.migration_named(fresh)).items():
        monkeypatch.setenv(name, value)
    run = CliRunner().invoke
    assert run(db, ["current"]).output == f"nothing (newest: {migrate.head()})\n"
    assert run(db, ["upgrade"]).output == f"the schema went from nothing to {migrate.head()}\n"
    assert run(db, ["upgrade"]).output == f"the schema is at {migrate.head()} already\n"
    assert run(db, ["current"]).output.startswith(migrate.head())


def test_a_database_that_is_away_is_said_so(servers: Infrastructure) -> None:
    with pytest.raises(Unavailable):
        migrate.version(servers.migration_named("nothing_of_that_name"))


def test_the_service_may_not_rewrite_the_journal_nor_the_reader_read_answers(
    servers: Infrastructure, fresh: str
) -> None:
    migrate.upgrade(servers.migration_named(fresh))
    settings = servers.database_named(fresh)
    with _login(settings) as service:
        for forbidden in (
            "UPDATE event SET type = 'x'",
            "DELETE FROM query_audit",
            "DROP TABLE bead",
            "CREATE TABLE mine (i int)",
            "UPDATE alembic_version SET version_num = ''",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                service.execute(forbidden)


def _login(settings: LedgerSettings) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host=settings.direct_host, port=settings.direct_port, dbname=settings.name,
        user=settings.user, password=settings.password.get_secret_value(), autocommit=True,
    )  # fmt: skip


def test_the_migrations_are_safe_sql(tmp_path: Path) -> None:
    printed = StringIO()
    command.upgrade(migrate.config(printed), "head", sql=True)
    file = tmp_path / "upgrade.sql"
    file.write_text(printed.getvalue())
    assert "CREATE TABLE bead" in file.read_text()
    answer = subprocess.run(
        [SQUAWK, f"--exclude={','.join(NOT_OURS)}", "--pg-version=15", file],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout


# A database that is not there yet, freezes, or dies.


def test_until_the_schema_is_there_the_service_says_so_at_once(
    servers: Infrastructure, fresh: str
) -> None:
    with _waiting_service(servers.database_named(fresh)) as database:
        with pytest.raises(Unavailable, match="does not answer"):
            database.client("control").list_projects()
        migrate.upgrade(servers.migration_named(fresh))
        database.wait_until(serving=True)
        assert database.client("control").list_projects().items == ()


@contextmanager
def _waiting_service(settings: LedgerSettings) -> Iterator[RunningDatabase]:
    with running_database(settings, wait=False) as database:
        database.wait_until(serving=False)
        yield database


def test_health_is_true_to_a_database_that_freezes_and_comes_back(
    servers: Infrastructure, fresh: str
) -> None:
    migrate.upgrade(servers.migration_named(fresh))
    pooler = pid_of(servers, "pgbouncer")
    with running_database(servers.database_named(fresh)) as database:
        control = database.client("control")
        control.create_project(Project("alpha", "/r"), "corr")
        os.kill(pooler, signal.SIGSTOP)
        try:
            database.wait_until(serving=False)
            with pytest.raises(Unavailable):
                control.get_project("alpha")
        finally:
            os.kill(pooler, signal.SIGCONT)
        database.wait_until(serving=True)
        assert control.get_project("alpha").id == "alpha"


def test_what_was_accepted_outlives_a_database_that_is_killed(
    servers: Infrastructure, fresh: str
) -> None:
    migrate.upgrade(servers.migration_named(fresh))
    with running_database(servers.database_named(fresh)) as database:
        control = database.client("control")
        control.create_project(Project("alpha", "/r"), "corr")

        # PostgreSQL may be back before each of them has been refused: one refusal ends them all.
        refused = threading.Event()

        def file_until_refused(_: int) -> set[str]:
            accepted: set[str] = set()
            while not refused.is_set():
                try:
                    filed = control.create_beads("alpha", [NewBead("x")], "corr")
                    accepted.add(filed.items[0].id)
                except (Unavailable, DeadlineExceeded):
                    # Whether that one was stored, nobody knows.
                    refused.set()
            return accepted

        with ThreadPoolExecutor(4) as threads:
            work = threads.map(file_until_refused, range(4))
            os.kill(pid_of(servers, "postgres"), signal.SIGKILL)
            accepted = set[str]().union(*work)

        def list_all() -> set[str]:
            listed: set[str] = set()
            cursor = ""
            while True:
                page = control.list_beads(page_size=500, cursor=cursor)
                listed |= {bead.id for bead in page.items}
                cursor = page.next_cursor
                if not cursor:
                    return listed

        # The supervisor starts PostgreSQL again, and the service finds it by itself.
        assert accepted <= process.wait_for("the ledger", list_all, threading.Event())
        process.wait_for(
            "the ledger",
            lambda: control.create_beads("alpha", [NewBead("y")], "corr"),
            threading.Event(),
        )


# The process.


def _variables(prefix: str, settings: LedgerSettings | MigrationSettings) -> dict[str, str]:
    values = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        secret = getattr(value, "get_secret_value", None)
        values[f"{prefix}{name.upper()}"] = str(secret() if secret else value)
    return values


def test_the_process_answers_and_ends_cleanly_when_it_is_asked_to(
    servers: Infrastructure, fresh: str, tmp_path: Path
) -> None:
    migrate.upgrade(servers.migration_named(fresh))
    tokens = tmp_path / "tokens"
    tokens.write_text(f"control {digest('t1')}\ndispatcher {digest('t2')}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{free.getsockname()[1]}"
    settings = servers.database_named(fresh).model_copy(
        update={"listen": target, "tokens_file": str(tokens)}
    )
    with subprocess.Popen(
        [sys.executable, "-m", "loom.database"],
        env=os.environ | _variables("LOOM_DATABASE_", settings),
        stdout=subprocess.PIPE, text=True,
    ) as service:  # fmt: skip
        try:
            running = RunningDatabase(target, settings)
            running.wait_until(serving=True)
            with connect(target, "t1") as one, connect(target, "t2") as two:
                DatabaseClient(one).create_project(Project("alpha", "/r"), "corr")
                dispatcher = DatabaseClient(two)
                dispatcher.lease_outbox("d", 10)
                with ThreadPoolExecutor(1) as threads:
                    waiting = threads.submit(dispatcher.lease_outbox, "d", 10, 5000)
                    with suppress(grpc.FutureTimeoutError, TimeoutError):
                        waiting.result(timeout=0.3)
                    service.send_signal(signal.SIGTERM)
                    assert waiting.result() == (), "a call under way is answered"
            assert service.wait(timeout=30) == 0
            assert service.stdout is not None
            assert '"event": "stopped"' in service.stdout.read()
        finally:
            service.kill()


def test_missing_settings_are_named_and_end_the_process(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"]}
    answer = subprocess.run(
        [sys.executable, "-m", "loom.database"], cwd=Path(migrate.SCRIPTS).parent,
        env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert answer.returncode == 1
    assert "LOOM_DATABASE_PASSWORD" in answer.stdout


def test_waiting_for_a_database_ends_when_the_process_is_asked_to_stop() -> None:
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(process.Stopped):
        process.wait_for("nothing", lambda: None, stopping)
