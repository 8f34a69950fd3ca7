"""Transactions that span calls: each pins one connection, for a short time that is enforced."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine, exc

from loom.database import failures, pool
from loom.domain.identity import new_message_id
from loom.errors import Exhausted, IllegalTransition, LoomError, NotFound
from loom.telemetry import logs

READ_ONLY = "ISOLATION LEVEL REPEATABLE READ READ ONLY"
REMEMBERED = 256

log = logs.get(__name__)


@dataclass(slots=True)
class _Pinned:
    id: str
    caller: str
    read_only: bool
    connection: Connection
    ends_at: float
    busy: threading.Lock = field(default_factory=threading.Lock)


class Transactions:
    """The open transactions, at most `most` at once. Close it at the end of the process."""

    def __init__(self, writers: Engine, readers: Engine, most: int, longest_s: float) -> None:
        self._engines = {False: writers, True: readers}
        self._most = most
        self._longest_s = longest_s
        self._changed = threading.Condition()
        self._open: dict[str, _Pinned] = {}
        self._opening = 0
        self._ended: OrderedDict[str, str] = OrderedDict()
        self._closing = False
        self._reaper = threading.Thread(target=self._reap, name="transactions", daemon=True)
        self._reaper.start()

    def begin(
        self, caller: str, *, read_only: bool, timeout_ms: int, time_left_s: float
    ) -> tuple[str, datetime]:
        """Open one; its id and when it ends by itself. Raises Exhausted, Unavailable."""
        lasts_s = min(timeout_ms / 1000 or self._longest_s, self._longest_s)
        with self._changed:
            if len(self._open) + self._opening >= self._most:
                raise Exhausted(
                    f"{self._most} transactions are open, which is the limit: end one, or wait "
                    "for one to expire",
                    limit=str(self._most),
                )
            self._opening += 1
        try:
            with pool.named_errors():
                connection = self._connect(read_only=read_only, time_left_s=time_left_s)
            pinned = _Pinned(
                new_message_id(), caller, read_only, connection, time.monotonic() + lasts_s
            )
            with self._changed:
                self._open[pinned.id] = pinned
                self._changed.notify_all()
        finally:
            with self._changed:
                self._opening -= 1
        return pinned.id, datetime.now(UTC) + timedelta(seconds=lasts_s)

    def _connect(self, *, read_only: bool, time_left_s: float) -> Connection:
        begin = pool.opening(time_left_s, mode=READ_ONLY if read_only else "")
        for last in (False, True):
            connection = self._engines[read_only].connect()
            try:
                connection.exec_driver_sql(begin)
                if read_only:
                    # The first query fixes the snapshot, and that the transaction only reads.
                    connection.exec_driver_sql("SELECT 1")
            except exc.DBAPIError as error:
                connection.close()
                if last or not failures.is_lost_connection(error):
                    raise
            else:
                return connection
        raise AssertionError("the second try returns or raises")

    @contextmanager
    def use(
        self, transaction_id: str, caller: str, time_left_s: float, *, read_only: bool | None
    ) -> Iterator[Connection]:
        """One call in the transaction; an error undoes that call alone.

        read_only: what the transaction has to be; None for either. Raises NotFound,
        IllegalTransition, Exhausted (another call of it is running).
        """
        with self._held(transaction_id, caller, time_left_s) as pinned:
            if read_only is not None and pinned.read_only is not read_only:
                raise IllegalTransition(
                    "ExecuteQuery needs a read-only transaction, since it runs as another role"
                    if read_only
                    else "SaveBead needs a transaction that is not read-only",
                    transaction_id=transaction_id,
                )
            with pool.named_errors():
                left_s = min(time_left_s, pinned.ends_at - time.monotonic(), pool.LONGEST_S)
                connection = pinned.connection
                try:
                    limit_ms = max(1, int(left_s * 1000))
                    connection.exec_driver_sql(
                        f"SAVEPOINT call; SET LOCAL statement_timeout = {limit_ms}"
                    )
                    yield connection
                    connection.exec_driver_sql("RELEASE SAVEPOINT call")
                except BaseException:
                    self._undo(pinned)
                    raise

    def _undo(self, pinned: _Pinned) -> None:
        try:
            pinned.connection.exec_driver_sql("ROLLBACK TO SAVEPOINT call")
        except exc.SQLAlchemyError:
            self._forget(pinned, "its connection broke, so it was rolled back")

    def commit(self, transaction_id: str, caller: str, time_left_s: float) -> None:
        """Make it last. Raises NotFound."""
        self._end(transaction_id, caller, time_left_s, "COMMIT", "it was committed")

    def roll_back(self, transaction_id: str, caller: str, time_left_s: float) -> None:
        """Undo it. Raises NotFound."""
        self._end(transaction_id, caller, time_left_s, "ROLLBACK", "it was rolled back")

    def close(self) -> None:
        """Roll back every one that is open."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._reaper.join(timeout=10)

    def _end(
        self, transaction_id: str, caller: str, time_left_s: float, verb: str, fate: str
    ) -> None:
        with self._held(transaction_id, caller, time_left_s) as pinned, pool.named_errors():
            try:
                # Nothing that a query may have done lasts: it was let in to read.
                pinned.connection.exec_driver_sql("ROLLBACK" if pinned.read_only else verb)
            except BaseException:
                self._forget(pinned, f"{verb} failed")
                raise
            self._forget(pinned, fate)

    @contextmanager
    def _held(self, transaction_id: str, caller: str, time_left_s: float) -> Iterator[_Pinned]:
        pinned = self._find(transaction_id, caller)
        if not pinned.busy.acquire(timeout=max(0.0, time_left_s - 0.1)):
            raise Exhausted(
                "another call of this transaction is running: make them one after the other",
                transaction_id=transaction_id,
            )
        try:
            # It may have ended while this call waited for its turn.
            yield self._find(transaction_id, caller)
        finally:
            pinned.busy.release()

    def _find(self, transaction_id: str, caller: str) -> _Pinned:
        with self._changed:
            pinned = self._open.get(transaction_id)
            fate = self._ended.get(f"{caller} {transaction_id}", "")
        if pinned is None or pinned.caller != caller or pinned.ends_at <= time.monotonic():
            if pinned is not None and pinned.caller == caller:
                fate = "it expired and was rolled back"
            raise NotFound(
                f"there is no open transaction {transaction_id}"
                + (f": {fate}" if fate else ": BeginTransaction opens one"),
                transaction_id=transaction_id,
            )
        return pinned

    def _forget(self, pinned: _Pinned, fate: str) -> None:
        pool.roll_back(pinned.connection)
        pinned.connection.close()
        with self._changed:
            self._open.pop(pinned.id, None)
            self._ended[f"{pinned.caller} {pinned.id}"] = fate
            while len(self._ended) > REMEMBERED:
                self._ended.popitem(last=False)

    def _reap(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                due = [p for p in self._open.values() if self._closing or p.ends_at <= now]
                if not due:
                    if self._closing:
                        return
                    ends = [p.ends_at for p in self._open.values()]
                    self._changed.wait(min(ends) - now if ends else None)
                    continue
            for pinned in due:
                self._expire(pinned)

    def _expire(self, pinned: _Pinned) -> None:
        # A call that runs has the same end as its statement timeout, so this waits only briefly.
        with pinned.busy:
            with self._changed:
                if pinned.id not in self._open:
                    return
            try:
                self._forget(pinned, "it expired and was rolled back")
            except (LoomError, exc.SQLAlchemyError) as error:
                log.warning("transaction_not_ended", why=str(error))
        log.info("transaction_expired", caller=pinned.caller, transaction_id=pinned.id)
