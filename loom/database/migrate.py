"""`python -m loom.database.migrate`: brings the schema to the newest version."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, create_engine, pool, text

from loom.database.failures import named
from loom.errors import LoomError
from loom.settings import ServiceSettings, load
from loom.settings.ledger import MigrationSettings
from loom.telemetry import logs, process

SCRIPTS = Path(__file__).resolve().parents[2] / "migrations"
LOCK = 4_107_482_650_117
"""The advisory lock under which migrations run: a second run waits for the first."""

NEW_ERA = """
DO $$
DECLARE newest bigint;
BEGIN
    IF to_regproc('event_era') IS NOT NULL THEN
        SELECT max(xid) INTO newest FROM event WHERE era = event_era();
        IF newest > CAST(CAST(pg_current_xact_id() AS text) AS bigint) THEN
            EXECUTE format(
                'CREATE OR REPLACE FUNCTION event_era() RETURNS bigint LANGUAGE sql IMMUTABLE '
                'PARALLEL SAFE RETURN %s', event_era() + 1);
        END IF;
    END IF;
END
$$
"""
"""A dump keeps the numbers of the transactions that wrote the events, and the server that it is
restored on begins to count anew: without a new era, new events would stand before the old ones."""

log = logs.get(__name__)


def config(output: TextIO | None = None) -> Config:
    """Alembic's configuration, without a file. output: where `--sql` prints."""
    made = Config(output_buffer=output) if output else Config()
    made.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return made


def head() -> str:
    """The newest version there is a script for."""
    return ScriptDirectory.from_config(config()).get_current_head() or ""


def current(connection: Connection) -> str:
    """The version the database is at; empty before the first."""
    return MigrationContext.configure(connection).get_current_revision() or ""


def url(settings: MigrationSettings) -> URL:
    """The schema owner's login at PostgreSQL itself."""
    return URL.create(
        "postgresql+psycopg",
        settings.user,
        settings.password.get_secret_value(),
        settings.host,
        settings.port,
        settings.name,
    )


def upgrade(settings: MigrationSettings, revision: str = "head") -> tuple[str, str]:
    """Go up to a version; the versions before and after. Raises Unavailable."""
    return _move(settings, revision, up=True)


def downgrade(settings: MigrationSettings, revision: str) -> tuple[str, str]:
    """Go down to a version (`base`: none at all), with the data that it drops."""
    return _move(settings, revision, up=False)


def version(settings: MigrationSettings) -> str:
    """The version of the database. Raises Unavailable."""
    try:
        with _connected(settings) as connection:
            return current(connection)
    except Exception as error:
        raise named(error) or error from error


def _move(settings: MigrationSettings, revision: str, *, up: bool) -> tuple[str, str]:
    try:
        with _connected(settings) as connection, connection.begin():
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            before = current(connection)
            alembic = config()
            alembic.attributes["connection"] = connection
            (command.upgrade if up else command.downgrade)(alembic, revision)
            connection.execute(text(NEW_ERA))
            return before, current(connection)
    except Exception as error:
        raise named(error) or error from error


def _connected(settings: MigrationSettings) -> Connection:
    engine = create_engine(
        url(settings), poolclass=pool.NullPool, connect_args={"connect_timeout": 5}
    )
    return engine.connect()


def main() -> int:
    """Wait for the database, bring the schema up to date; 0 when it is."""
    stopping = process.start("migrate", load(ServiceSettings))
    try:
        settings = load(MigrationSettings)
        before, after = process.wait_for("postgres", lambda: upgrade(settings), stopping)
    except process.Stopped:
        return 1
    except LoomError as error:
        log.error("migration_failed", why=process.explain(error))
        return 1
    log.info("schema_upgraded" if before != after else "schema_current", before=before, now=after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
