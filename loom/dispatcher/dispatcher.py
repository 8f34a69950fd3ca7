"""The dispatcher's turn: lease what is owed, publish it, and tell the ledger what came of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from opentelemetry.trace import SpanKind

from loom.broker.confirms import Published, Status
from loom.clients.database import SERVICE, Page
from loom.dispatcher.message import envelope_of
from loom.domain.outbox import OutboxKind, OutboxRow
from loom.domain.project import Project
from loom.errors import LoomError, Unavailable
from loom.messaging.envelope import Envelope
from loom.messaging.topology import CORE, TASKS, Topology, of_project, task_key
from loom.telemetry import logs, process
from loom.telemetry.failpoints import failpoint, unguarded
from loom.telemetry.traces import Detached

BROKER = "the broker"
BATCH = 500
WAIT_MS = 1_000
"""How long the ledger holds the call open when nothing is owed."""
PROJECTS_EVERY_S = 1.0
"""How often new projects are looked for: a queue has to exist before its agents can wait on it."""
PAGE = 200
PAUSE_S = 1.0
"""How long to let the broker recover after it failed to confirm."""
GONE_S = 1.0
"""How long a queue that somebody has deleted stays away before it is declared again: so long that
its consumers are told. Where it is back at once, RabbitMQ 3.10 delivers to nobody what comes to it,
as to consumers that are no more, until their agents hang up."""

log = logs.get(__name__)

T = TypeVar("T")
Publish = Callable[[Sequence[Envelope], float], list[Published]]
Declare = Callable[[Iterable[Topology]], object]


class Ledger(Protocol):
    """The calls of the database service that the dispatcher makes."""

    def lease_outbox(self, owner: str, limit: int, wait_ms: int = 0) -> tuple[OutboxRow, ...]: ...

    def settle_outbox(
        self, owner: str, published: Sequence[int], unsettled: Sequence[tuple[int, str]] = ()
    ) -> tuple[int, int]: ...

    def list_projects(self, page_size: int = 100, cursor: str = "") -> Page[Project]: ...


class Dispatcher:
    """Carries rows until it is stopped.

    publish raises Unavailable when the broker is away, and so does declare. timeout_s: how long
    a batch may take to be confirmed.
    """

    def __init__(
        self, ledger: Ledger, publish: Publish, declare: Declare, owner: str, timeout_s: float
    ) -> None:
        self._ledger, self._publish, self._declare = ledger, publish, declare
        self._owner, self._timeout_s = owner, timeout_s
        self._declared: set[str] = set()
        self._gone: dict[str, float] = {}
        self._core_declared = False
        self._projects_due = 0.0
        self._limit = BATCH

    def run(self, stopping: threading.Event) -> None:
        """Dispatch until stopping is set; the batch in hand is finished and settled."""
        while not stopping.is_set():
            self.turn(stopping)

    def turn(self, stopping: threading.Event) -> None:
        """Wait for rows and dispatch them; raises Stopped when stopping is set meanwhile."""
        if time.monotonic() >= self._projects_due:
            found = self._wait(self._list_projects, SERVICE, stopping)
            self._wait(partial(self._declare_projects, found), BROKER, stopping)
            self._projects_due = time.monotonic() + PROJECTS_EVERY_S
        rows = self._wait(self._lease, SERVICE, stopping)
        if rows and not self.dispatch(rows, stopping):
            stopping.wait(PAUSE_S)

    def dispatch(self, rows: Sequence[OutboxRow], stopping: threading.Event) -> bool:
        """Publish the rows and settle them; False when the broker needs a pause."""
        failpoint("dispatcher.leased")
        hops = [_hop(row) for row in rows]
        if unguarded("ack_order"):
            self._settle(rows, [Published(Status.CONFIRMED)] * len(rows), stopping)
            failpoint("dispatcher.settled")
        outcomes = self._publish_rows(rows, hops)
        failpoint("dispatcher.published")
        for row, hop, outcome in zip(rows, hops, outcomes, strict=True):
            hop.end(outcome.reason)
            _tell(row, hop, outcome)
        self._learn(rows, outcomes)
        self._settle(rows, outcomes, stopping)
        return not any(o.status in (Status.UNCONFIRMED, Status.NACKED) for o in outcomes)

    def _publish_rows(self, rows: Sequence[OutboxRow], hops: Sequence[Detached]) -> list[Published]:
        outcomes: dict[int, Published] = {}
        envelopes: dict[int, Envelope] = {}
        for index, (row, hop) in enumerate(zip(rows, hops, strict=True)):
            try:
                envelopes[index] = envelope_of(row, hop.traceparent)
            except Exception as error:  # noqa: BLE001 - one bad row must not hold up the others
                outcomes[index] = Published(Status.UNWRITABLE, f"{type(error).__name__}: {error}")
        try:
            self._declare_projects(
                rows[index].project_id for index in envelopes if rows[index].kind is OutboxKind.TASK
            )
            published = self._publish(list(envelopes.values()), self._timeout_s)
        except Unavailable as error:
            log.warning("waiting", waiting_for=BROKER, why=error.detail)
            published = [Published(Status.UNCONFIRMED, error.detail)] * len(envelopes)
        outcomes.update(zip(envelopes, published, strict=True))
        return [outcomes[index] for index in range(len(rows))]

    def _learn(self, rows: Sequence[OutboxRow], outcomes: Sequence[Published]) -> None:
        """What is no longer sure to exist on the broker has to be declared again."""
        if any(o.status is Status.UNCONFIRMED for o in outcomes):
            self._core_declared = False
            self._declared.clear()
            self._projects_due = 0.0
            return
        returned = {
            row.project_id
            for row, outcome in zip(rows, outcomes, strict=True)
            if outcome.status is Status.RETURNED
        }
        for project_id in returned & self._declared:
            self._declared.remove(project_id)
            self._gone[project_id] = time.monotonic() + GONE_S
            self._projects_due = min(self._projects_due, self._gone[project_id])

    def _settle(
        self, rows: Sequence[OutboxRow], outcomes: Sequence[Published], stopping: threading.Event
    ) -> None:
        pairs = list(zip(rows, outcomes, strict=True))
        published = [row.id for row, outcome in pairs if outcome.confirmed]
        unsettled = [(row.id, o.reason[:500]) for row, o in pairs if not o.confirmed]

        def settle() -> None:
            self._ledger.settle_outbox(self._owner, published, unsettled)

        try:
            settle()
        except LoomError as error:
            # The lease of the rows runs out if this never succeeds, and they are published again.
            log.warning("settle_failed", rows=len(rows), why=process.explain(error))
            self._wait(settle, SERVICE, stopping)

    def _lease(self) -> tuple[OutboxRow, ...]:
        try:
            rows = self._ledger.lease_outbox(self._owner, self._limit, WAIT_MS)
        except LoomError:
            # Rows may be too large to come together in one answer.
            self._limit = max(1, self._limit // 2)
            raise
        self._limit = min(BATCH, self._limit * 2)
        return rows

    def _list_projects(self) -> set[str]:
        found, cursor = set(), ""
        while True:
            page = self._ledger.list_projects(PAGE, cursor)
            found |= {project.id for project in page.items}
            cursor = page.next_cursor
            if not cursor:
                return found

    def _declare_projects(self, project_ids: Iterable[str]) -> None:
        """Declare what they need, but for the queues that went a moment ago."""
        now = time.monotonic()
        self._gone = {gone: until for gone, until in self._gone.items() if until > now}
        missing = sorted(set(project_ids) - self._declared - self._gone.keys())
        core = () if self._core_declared else (CORE,)
        if missing or core:
            self._declare([*core, *map(of_project, missing)])
            self._core_declared = True
            self._declared.update(missing)
            log.info("topology_declared", projects=missing)

    def _wait(self, call: Callable[[], T], what: str, stopping: threading.Event) -> T:
        """What call returns, however often it has to be tried; raises Stopped."""

        def attempt() -> T:
            try:
                return call()
            except LoomError as error:
                raise Unavailable(process.explain(error)) from error

        return process.wait_for(what, attempt, stopping)


def _hop(row: OutboxRow) -> Detached:
    """The span from the lease of a task's row to the broker's confirm; an event has none."""
    if row.kind is not OutboxKind.TASK:
        return Detached("", "", SpanKind.PRODUCER)
    attributes: dict[str, str | int] = {
        "messaging.system": "rabbitmq",
        "messaging.destination.name": task_key(row.project_id),
        "messaging.message.id": row.message_id,
        "loom.bead_id": row.bead_id,
        "loom.correlation_id": row.correlation_id,
        "loom.attempt": row.attempt,
    }
    return Detached(f"publish {TASKS}", row.traceparent, SpanKind.PRODUCER, **attributes)


def _tell(row: OutboxRow, hop: Detached, outcome: Published) -> None:
    facts = {
        "correlation_id": row.correlation_id,
        "bead_id": row.bead_id,
        "project_id": row.project_id,
        "message_id": row.message_id,
    }
    if hop.trace_id:
        facts["trace_id"] = hop.trace_id
    if not outcome.confirmed:
        log.warning(
            "message_unsettled", type=row.type, outcome=outcome.status.value, why=outcome.reason,
            **facts,
        )  # fmt: skip
    elif row.kind is OutboxKind.TASK:
        log.info("bead_dispatched", epoch=row.epoch, attempt=row.attempt, type=row.type, **facts)
