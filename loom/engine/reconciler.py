"""Compares ledger and broker again and again, says what is unaccounted for, and mends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from loom.broker.confirms import Published
from loom.clients.answers import Page, every
from loom.domain.identity import new_message_id
from loom.domain.project import Project
from loom.domain.reconciliation import Depth, Reconciliation
from loom.messaging.envelope import Envelope
from loom.messaging.metric import UNACCOUNTED, MetricMessage, to_envelope
from loom.messaging.topology import queues_of
from loom.telemetry import logs

SERVICE = "engine"
PAGE = 200
CONFIRM_S = 5.0

log = logs.get(__name__)

Publish = Callable[[Sequence[Envelope], float], list[Published]]


class Ledger(Protocol):
    """The calls of the database service that this needs."""

    def list_projects(self, page_size: int = 100, cursor: str = "") -> Page[Project]: ...

    def reconcile(
        self, depths: Sequence[Depth], *, repair: bool = False, grace_s: float | None = None
    ) -> Reconciliation: ...


class Reconciler:
    """Looks once a turn. What it finds twice in a row it mends, if it may.

    Counts of a broker and a ledger are never taken at one moment, so that one finding may be a
    mistake; mending one does no harm, but needs not be done.
    """

    def __init__(
        self,
        ledger: Ledger,
        read: Callable[[Sequence[str]], Sequence[Depth]],
        publish: Publish,
        *,
        grace_s: float,
        repair: bool,
    ) -> None:
        """read: the depths of queues; raises Unavailable, and so may publish."""
        self._ledger, self._read, self._publish = ledger, read, publish
        self._grace_s, self._repair = grace_s, repair
        self._found = 0

    def look(self) -> bool:
        """Compare, mend and tell; True when there is more to mend at once."""
        projects = [p.id for p in every(lambda after: self._ledger.list_projects(PAGE, after))]
        depths = self._read(queues_of(projects))
        mend = self._repair and self._found > 0
        done = self._ledger.reconcile(depths, repair=mend, grace_s=self._grace_s)
        self._found = done.unaccounted
        self._tell(done)
        return mend and 0 < done.left < done.unaccounted

    def _tell(self, done: Reconciliation) -> None:
        for account in done.accounts:
            if account.differences:
                log.warning(
                    "reconciliation_difference",
                    project_id=account.held.project_id,
                    unaccounted=account.unaccounted,
                    differences=list(account.differences),
                )
        mended = done.mended
        say = log.warning if done.unaccounted else log.info
        say(
            "reconciled",
            unaccounted=done.unaccounted,
            reowed=mended.reowed,
            reopened=mended.reopened,
            expired=mended.expired,
        )
        metric = MetricMessage(
            name=UNACCOUNTED, value=done.unaccounted, service=SERVICE, timestamp=datetime.now(UTC)
        )
        self._publish([to_envelope(metric, new_message_id())], CONFIRM_S)
