"""Wakes calls that wait for outbox rows: at once within the service, by NOTIFY between services.

Only a hint beside polling: a lost one costs a poll's time. It is sent after the commit and not
within it, since PostgreSQL lets transactions that notify commit one by one, each with its own
flush to disk; and at most every PAUSE_S, however many rows came.
"""

from __future__ import annotations

import threading
import uuid

import psycopg
from sqlalchemy import Connection, Engine, text

from loom.database import pool
from loom.errors import LoomError
from loom.settings import LedgerSettings
from loom.telemetry import logs

CHANNEL = "loom_outbox"
PAUSE_S = 0.02
AGAIN_S = 1.0

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
        self._places = threading.BoundedSemaphore(most_waiting)
        self._untold = threading.Event()
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

    def tell(self) -> None:
        """Rows were added, and are committed."""
        self._wake()
        self._untold.set()

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

    def _wake(self) -> None:
        with self._changed:
            self._count += 1
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
                            if notice.payload != self._self:
                                self._wake()
                            if self._stopping.is_set():
                                break
            except psycopg.Error as error:
                log.info("listen_interrupted", why=str(error).strip().split("\n")[0])
                self._stopping.wait(AGAIN_S)

    def _send(self) -> None:
        def notify(connection: Connection) -> None:
            connection.execute(
                text("SELECT pg_notify(:channel, :payload)"),
                {"channel": CHANNEL, "payload": self._self},
            )

        while True:
            self._untold.wait()
            if self._stopping.is_set():
                return
            self._untold.clear()
            try:
                pool.run(self._engine, notify, time_left_s=1.0)
            except LoomError as error:
                log.info("notify_failed", why=error.detail)
            self._stopping.wait(PAUSE_S)
