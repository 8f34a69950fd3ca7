"""Whether the ledger answers and has the schema this service was written for."""

from __future__ import annotations

import threading
import time

from sqlalchemy import Connection, select, table, text
from sqlalchemy.exc import DBAPIError

from loom.database import migrate, pool
from loom.errors import LoomError, Unavailable
from loom.settings import LedgerSettings
from loom.telemetry import logs

EVERY_S = 1.0
STALE_S = 4.0
"""A check that has not come back for so long counts as failed: a frozen database says nothing."""

log = logs.get(__name__)

_VERSION = select(text("version_num")).select_from(table("alembic_version"))


class Health:
    """Asks the database again and again, on a connection of its own. start it, then stop it."""

    def __init__(self, settings: LedgerSettings) -> None:
        self._engine = pool.make_engine(
            pool.pooled_url(settings), 1, application="loom-database-health"
        )
        self._head = migrate.head()
        self._answered = float("-inf")
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="health", daemon=True)

    def check(self) -> None:
        """Raise Unavailable unless the database answers with the schema at its newest version."""
        try:
            version = pool.run(self._engine, _version, time_left_s=STALE_S)
        except DBAPIError as error:
            raise Unavailable(
                f"the ledger has no schema yet: `loom db upgrade` makes it ({error.orig})"
            ) from error
        if version != self._head:
            raise Unavailable(
                f"the schema is at {version or 'nothing'}, this service needs {self._head}: "
                "run `loom db upgrade`"
            )
        self._answered = time.monotonic()

    @property
    def answering(self) -> bool:
        """The last check was good, and not long ago."""
        return time.monotonic() - self._answered < STALE_S

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=STALE_S)
        self._engine.dispose()

    def _watch(self) -> None:
        while not self._stopping.wait(EVERY_S):
            try:
                self.check()
            except LoomError as error:
                self._answered = float("-inf")
                log.warning("database_unhealthy", why=error.detail)


def _version(connection: Connection) -> str | None:
    return connection.execute(_VERSION).scalar_one_or_none()
