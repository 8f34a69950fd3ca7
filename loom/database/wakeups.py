"""Wakes calls that wait for outbox rows: at once within the service, by NOTIFY between services.

Only a hint beside polling: a lost one costs a poll's time. It is sent after the commit and not
within it, since PostgreSQL lets transactions that notify commit one by one, each with its own
flush to disk; and at most every PAUSE_S, however many rows came.

What a person or a program waits for is told at once. What the trip itself brings about (claims,
results: events, and room for more) is gathered, so that what a busy ledger owes goes out in few
large batches.
"""

from __future__ import annotations

import threading
import time
import uuid

import psycopg
from sqlalchemy import Engine, text

from loom.database import pool
from loom.errors import LoomError
from loom.settings import LedgerSettings
from loom.telemetry import logs

CHANNEL = "loom_outbox"
PAUSE_S = 0.02
GATHER_S = 0.05
"""How long what is gathered may wait. A look costs the ledger as much as ten rows do."""
REST_S = 0.1
"""The least time between telling other services of what is gathered."""
POLL_S = 0.5
"""How often rows are looked for unannounced: retries become due by themselves."""
AGAIN_S = 1.0
AT_ONCE, GATHERED = "at once", "gathered"

_NOTIFY = text("SELECT pg_notify(:channel, :payload)")

log = logs.get(__name__)


class Wakeups:
    """Who waits for rows, and who tells that there are some. start it once, then stop it."""

    def __init__(self, settings: LedgerSettings, engine: Engine, most_waiting: int) -> None:
        """most_waiting: how many calls may wait at once, each holding a thread."""
        self._settings = settings
        self._engine = engine
        self._self = uuid.uuid4().hex
        self._changed = threading.Condition()
        self._count = 0
        self._due = 0.0  # when outbox rows are to be looked for next, by time.monotonic()
        self._places = threading.BoundedSemaphore(most_waiting)
        self._untold = threading.Event()
        self._urgent = False  # of what is untold
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._listen, name="wakeups-listen", daemon=True),
            threading.Thread(target=self._send, name="wakeups-send", daemon=True),
        ]

    def start(self) -> None:
        """Begin to listen and to tell."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let every waiting call go, and end."""
        self._stopping.set()
        self._untold.set()
        self._wake()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=5)

    @property
    def count(self) -> int:
        """Grows with every wake-up: take it before looking, and wait for it to change."""
        with self._changed:
            return self._count

    def tell(self, *, gathered: bool = False) -> None:
        """Rows were added, and are committed. gathered: they may wait for others."""
        with self._changed:
            self._urgent = self._urgent or not gathered
        self._wake(gathered=gathered)
        self._untold.set()

    def await_turn(self, until: float) -> bool:
        """Wait until outbox rows should be looked for, which is then the caller's to do.

        until: time.monotonic(). False when it passed before, when too many wait, or when stopping.
        """
        if self._stopping.is_set() or not self._places.acquire(blocking=False):
            return False
        try:
            with self._changed:
                while not self._stopping.is_set():
                    now = time.monotonic()
                    if now >= self._due:
                        self._due = now + POLL_S
                        return True
                    if now >= until:
                        return False
                    self._changed.wait(min(self._due, until) - now)
            return False
        finally:
            self._places.release()

    def expect_more(self, *, gathered: bool) -> None:
        """What was found is not all there is, or was but the first of some."""
        self._hasten(GATHER_S if gathered else 0.0)

    def wait(self, count: int, timeout_s: float) -> bool:
        """Wait until the count is another; False at once if too many wait, or when stopping."""
        if self._stopping.is_set() or not self._places.acquire(blocking=False):
            return False
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._count != count, timeout_s)
            return not self._stopping.is_set()
        finally:
            self._places.release()

    def _wake(self, *, gathered: bool = False) -> None:
        with self._changed:
            self._count += 1
        self._hasten(GATHER_S if gathered else 0.0)

    def _hasten(self, delay_s: float) -> None:
        with self._changed:
            self._due = min(self._due, time.monotonic() + delay_s)
            self._changed.notify_all()

    def _listen(self) -> None:
        url = pool.direct_url(self._settings)
        while not self._stopping.is_set():
            try:
                with psycopg.connect(
                    host=url.host, port=url.port, dbname=url.database, user=url.username,
                    password=url.password, autocommit=True, connect_timeout=pool.CONNECT_S,
                    application_name="loom-listen",
                ) as connection:  # fmt: skip
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._wake()
                    while not self._stopping.is_set():
                        for notice in connection.notifies(timeout=1.0):
                            sender, _, how = notice.payload.partition(" ")
                            if sender != self._self:
                                self._wake(gathered=how == GATHERED)
                            if self._stopping.is_set():
                                break
            except psycopg.Error as error:
                log.info("listen_interrupted", why=str(error).strip().split("\n")[0])
                self._stopping.wait(AGAIN_S)

    def _send(self) -> None:
        while True:
            self._untold.wait()
            if self._stopping.is_set():
                return
            self._untold.clear()
            with self._changed:
                urgent, self._urgent = self._urgent, False
            try:
                self._notify(AT_ONCE if urgent else GATHERED)
            except LoomError as error:
                log.info("notify_failed", why=error.detail)
            self._stopping.wait(PAUSE_S if urgent else REST_S)

    def _notify(self, how: str) -> None:
        # One statement that nothing waits for needs no transaction of its own with limits.
        with pool.named_errors(), self._engine.connect() as connection:
            connection.execute(_NOTIFY, {"channel": CHANNEL, "payload": f"{self._self} {how}"})
