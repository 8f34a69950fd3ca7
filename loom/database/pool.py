"""Connections to the ledger, and transactions on them.

Through PgBouncer every transaction may run on another server connection, so nothing here relies
on a session: no prepared statements, no SET but SET LOCAL, no lock that outlives a transaction.
Connections are in autocommit mode and each transaction is opened and ended by name, so that its
limits and locks travel with BEGIN, in one round trip.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import stamina
from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, pool

from loom.database import failures
from loom.errors import DeadlineExceeded
from loom.settings import LedgerSettings
from loom.telemetry import logs

T = TypeVar("T")

POOL_WAIT_S = 2.0
CONNECT_S = 2
LOCK_WAIT_S = 5.0
LONGEST_S = 30.0
"""How long one statement may take where the caller's deadline is further away."""
ATTEMPTS = 5

log = logs.get(__name__)


def make_engine(
    url: URL, size: int, *, application: str = "loom-database", **options: Any
) -> Engine:
    """A pool of at most size connections; it connects when it is first used."""
    return create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=size,
        max_overflow=0,
        pool_timeout=POOL_WAIT_S,
        pool_use_lifo=True,
        use_native_hstore=False,
        connect_args={
            "prepare_threshold": None,
            "connect_timeout": CONNECT_S,
            "application_name": application,
            "tcp_user_timeout": 10_000,
        },
        **options,
    )


def pooled_url(settings: LedgerSettings) -> URL:
    """The service's login, through PgBouncer."""
    return URL.create(
        "postgresql+psycopg",
        settings.user,
        settings.password.get_secret_value(),
        settings.host,
        settings.port,
        settings.name,
    )


def direct_url(settings: LedgerSettings) -> URL:
    """The service's login at PostgreSQL itself, for LISTEN."""
    return pooled_url(settings).set(host=settings.direct_host, port=settings.direct_port)


def reader_url(settings: LedgerSettings) -> URL:
    """The reader's login at PostgreSQL itself: its sessions are wiped after each use."""
    return direct_url(settings).set(
        username=settings.reader_user, password=settings.reader_password.get_secret_value()
    )


def make_reader_engine(settings: LedgerSettings, size: int) -> Engine:
    """The reader's own small pool."""
    engine = make_engine(reader_url(settings), size, application="loom-reader")

    def wipe(connection: Any, _record: Any, _state: pool.PoolResetState) -> None:
        # A query may have taken session locks or changed settings: none of it may stay.
        connection.rollback()
        connection.execute("DISCARD ALL")

    event.listen(engine, "reset", wipe)
    return engine


def opening(time_left_s: float, *, mode: str = "", locks: Sequence[int] = ()) -> str:
    """The statement that opens a transaction, with its limits and its advisory locks.

    time_left_s: until the caller's deadline. Raises DeadlineExceeded when it has passed.
    """
    if time_left_s <= 0:
        raise DeadlineExceeded("the deadline passed before the database was asked")
    limit_ms = max(1, math.floor(min(time_left_s, LONGEST_S) * 1000))
    lock_ms = max(1, min(limit_ms, math.floor(LOCK_WAIT_S * 1000)))
    return (
        f"BEGIN {mode}; SET LOCAL statement_timeout = {limit_ms}; "
        f"SET LOCAL lock_timeout = {lock_ms}"
        + "".join(f"; SELECT pg_advisory_xact_lock({int(lock)})" for lock in locks)
    )


@contextmanager
def transaction(
    engine: Engine,
    time_left_s: float = LONGEST_S,
    *,
    mode: str = "",
    locks: Sequence[int] = (),
    keep: bool = True,
) -> Iterator[Connection]:
    """One transaction: committed at the end of the block if keep, rolled back if it raises."""
    begin = opening(time_left_s, mode=mode, locks=locks)
    with _opened(engine, begin) as connection:
        try:
            yield connection
        except BaseException:
            roll_back(connection)
            raise
        connection.exec_driver_sql("COMMIT" if keep else "ROLLBACK")


@contextmanager
def _opened(engine: Engine, begin: str) -> Iterator[Connection]:
    connection = engine.connect()
    try:
        try:
            connection.exec_driver_sql(begin)
        except exc.DBAPIError as error:
            if not failures.is_lost_connection(error):
                roll_back(connection)
                raise
            # It had broken while it lay in the pool, and so had its neighbours: the pool has
            # dropped them all, and nothing was done yet.
            connection.close()
            connection = engine.connect()
            connection.exec_driver_sql(begin)
        yield connection
    finally:
        connection.close()


def roll_back(connection: Connection) -> None:
    """Roll back, whatever state the connection is in."""
    if connection.invalidated:
        return
    with contextlib.suppress(exc.DBAPIError):
        connection.exec_driver_sql("ROLLBACK")


def run(
    engine: Engine,
    work: Callable[[Connection], T],
    time_left_s: float = LONGEST_S,
    *,
    mode: str = "",
    locks: Sequence[int] = (),
) -> T:
    """Do work in one transaction; again if others made it impossible; errors are Loom's."""
    with named_errors():
        for attempt in stamina.retry_context(
            on=failures.is_repeatable,
            attempts=ATTEMPTS,
            timeout=max(time_left_s, 0.001),
            wait_initial=0.005,
            wait_max=0.2,
            wait_jitter=0.02,
        ):
            with attempt, transaction(engine, time_left_s, mode=mode, locks=locks) as connection:
                return work(connection)
    raise AssertionError("a retry either returns or raises")


@contextmanager
def named_errors() -> Iterator[None]:
    """Turn the database's errors into Loom's."""
    try:
        yield
    except exc.SQLAlchemyError as error:
        meaning = failures.named(error)
        if meaning is None:
            raise
        log.warning("database_error", code=meaning.code, why=meaning.detail)
        raise meaning from error
