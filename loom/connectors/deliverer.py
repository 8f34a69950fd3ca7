"""Delivers events to webhooks: leased from the ledger, each on a thread, settled one by one.

What it has leased and never settles goes to another when the lease has run out: an event may come
twice, and none is lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from loom.domain.webhook import Errand, Tried
from loom.errors import LoomError
from loom.telemetry import logs, process
from loom.telemetry.failpoints import failpoint

WAIT_MS = 1_000
AGAIN_S = 1.0

log = logs.get(__name__)


class Ledger(Protocol):
    """The calls of loom.clients.webhooks.WebhookCalls that this needs."""

    def lease_deliveries(
        self, owner: str, limit: int, lease_s: float, wait_ms: int = 0
    ) -> tuple[Errand, ...]: ...

    def settle_deliveries(self, owner: str, tried: Sequence[Tried]) -> int: ...


class Deliverer:
    """Carries deliveries out until it is told to stop."""

    def __init__(
        self, ledger: Ledger, post: Callable[[Errand], Tried], owner: str, threads: int,
        lease_s: float,
    ) -> None:  # fmt: skip
        """owner: of its leases; no other has the name. threads: how many are under way at once."""
        self._ledger, self._post, self._owner = ledger, post, owner
        self._threads, self._lease_s = threads, lease_s
        self._free = threads
        self._changed = threading.Condition()

    def run(self, stopping: threading.Event) -> None:
        """Deliver until stopping is set; what is under way then is finished first."""
        log.info("deliverer_started", threads=self._threads)
        waiting = False
        with ThreadPoolExecutor(self._threads, thread_name_prefix="deliver") as pool:
            while not stopping.is_set():
                free = self._wait_for_room()
                try:
                    leased = self._ledger.lease_deliveries(
                        self._owner, free, self._lease_s, WAIT_MS
                    )
                except LoomError as error:
                    waiting = True
                    log.warning("waiting", waiting_for="the ledger", why=process.explain(error))
                    stopping.wait(AGAIN_S)
                    continue
                if waiting:
                    waiting = False
                    log.info("waited", waited_for="the ledger")
                for errand in leased:
                    with self._changed:
                        self._free -= 1
                    pool.submit(self._carry_out, errand, stopping)

    def _wait_for_room(self) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._free > 0)
            return self._free

    def _carry_out(self, errand: Errand, stopping: threading.Event) -> None:
        try:
            ends = time.monotonic() + self._lease_s
            tried = self._post(errand)
            failpoint("connectors.delivered")
            self._settle(tried, ends, stopping)
            log.info(
                "delivery_tried", delivery_id=errand.delivery_id, webhook_id=errand.webhook_id,
                event_id=errand.event.id, type=errand.event.type, status=tried.status,
                why=tried.error, duration_ms=tried.duration_ms,
            )  # fmt: skip
        except Exception:
            log.exception("delivery_failed", delivery_id=errand.delivery_id)
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()

    def _settle(self, tried: Tried, ends: float, stopping: threading.Event) -> None:
        """Say what came of it, while the lease lasts."""
        while True:
            try:
                self._ledger.settle_deliveries(self._owner, [tried])
            except LoomError as error:
                log.info("not_settled", delivery_id=tried.delivery_id, why=error.detail)
                if stopping.is_set() or time.monotonic() >= ends:
                    return
                stopping.wait(AGAIN_S)
            else:
                return
