"""The ledger: every command of the database service, each in one transaction.

Holds the pools; make it once a process, after any fork, and close it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection

from loom.database import (
    audit,
    beads,
    claims,
    deadletters,
    edits,
    expiry,
    filing,
    idempotency,
    listing,
    outbox,
    pool,
    projects,
    query,
    reconcile,
    results,
)
from loom.database.access import Access
from loom.database.changes import Report
from loom.database.comments import Comments
from loom.database.decisions import Judged
from loom.database.desk import Desk
from loom.database.group import Group
from loom.database.highwater import HighWater
from loom.database.imports_service import Imports
from loom.database.journal import Journal
from loom.database.logbook import Logbook
from loom.database.presence import Presence
from loom.database.retention import Retention
from loom.database.statistics import Statistics
from loom.database.steering import Steering
from loom.database.transactions import READ_ONLY, Transactions
from loom.database.waiting import Waiting
from loom.database.wakeups import Wakeups
from loom.database.webhooks import Webhooks
from loom.domain.audit import Intervention
from loom.domain.bead import MAX_BATCH, Attempt, Bead, NewBead
from loom.domain.outbox import Claim
from loom.domain.project import Project
from loom.domain.reconciliation import Depth, Reconciliation
from loom.errors import Invalid, LoomError, TooLarge
from loom.messaging.deadletter import DeadLetter
from loom.rpc import codec, desk
from loom.rpc.v1 import database_pb2 as pb
from loom.settings import LedgerSettings
from loom.telemetry import logs

T = TypeVar("T")

LONGEST_WAIT_S = 5.0
CLAIMS_AT_ONCE = 50
CLAIMS_S = 2.0
"""How long claims that are granted together may take; if it takes longer, each is made alone."""
ANSWER_S = 0.2
log = logs.get(__name__)


class Ledger:
    """Commands on PostgreSQL. Each takes the seconds until its caller's deadline."""

    def __init__(self, settings: LedgerSettings) -> None:
        self._settings = settings
        self._high_water = HighWater(settings.outbox_high_water)
        self._engine = pool.make_engine(pool.pooled_url(settings), settings.pool_size)
        writers = pool.make_engine(pool.pooled_url(settings), settings.max_transactions)
        self._readers = pool.make_reader_engine(settings, settings.max_transactions + 2)
        self._engines = (self._engine, writers, self._readers)
        self._wakeups = Wakeups(settings, self._engine, max(1, settings.threads // 3))
        self._wakeups.start()
        self._claims = Group(self._claim_together, most=CLAIMS_AT_ONCE)
        self.steering = Steering(self._run)
        self.waiting = Waiting(self._run)
        self.desk = Desk(self._run)
        self.presence = Presence(self._run)
        self.access = Access(self._run)
        self.logbook = Logbook(self._run)
        self.retention = Retention(self._run)
        self.comments = Comments(self._run)
        self.imports = Imports(self._run, self._high_water.admit)
        self.statistics = Statistics(self._run)
        self.journal = Journal(self._run, lambda: self._wakeups.count, self._wakeups.wait)
        self.webhooks = Webhooks(self._run, lambda: self._wakeups.count, self._wakeups.wait)
        self.transactions = Transactions(
            writers,
            self._readers,
            settings.max_transactions,
            settings.transaction_timeout_s,
        )

    def stop_waiting(self) -> None:
        """Let every call go that waits for something, and let none wait any more."""
        self._wakeups.stop()
        self.logbook.stop()

    def close(self) -> None:
        """Roll back what is open and close every connection."""
        self._wakeups.stop()
        self.transactions.close()
        for engine in self._engines:
            engine.dispose()

    def _run(
        self,
        work: Callable[[Connection], T],
        time_left_s: float,
        locks: Sequence[int] = (),
        *,
        tells: bool = False,
        gathered: bool = False,
    ) -> T:
        """tells: it may add outbox rows, or make room for some. gathered: which nobody awaits."""
        done = pool.run(self._engine, work, time_left_s, locks=locks)
        if tells:
            self._wakeups.tell(gathered=gathered)
        return done

    # Projects and beads.

    def create_project(
        self, request: pb.CreateProjectRequest, by: Intervention, time_left_s: float
    ) -> pb.CreateProjectResponse:
        """Make a project; a repeated request answers as the first did."""
        project = filing.check_project(codec.project_from_pb(request.project))
        _check_texts(request.correlation_id, request.traceparent)

        def work(connection: Connection) -> tuple[pb.CreateProjectResponse, bool]:
            def make() -> pb.CreateProjectResponse:
                made = projects.create(
                    connection, project, request.correlation_id, request.traceparent, by
                )
                return pb.CreateProjectResponse(project=codec.project_to_pb(made))

            return idempotency.once(
                connection, request.idempotency, pb.CreateProjectResponse(), make
            )

        answer, replayed = self._run(
            work, time_left_s, idempotency.locks(request.idempotency), tells=True
        )
        answer.replayed = replayed
        return answer

    def create_beads(
        self, request: pb.CreateBeadsRequest, time_left_s: float
    ) -> pb.CreateBeadsResponse:
        """File beads, all or none; a repeated request answers as the first did."""
        asked = filing.check_beads([_new_bead(bead) for bead in request.beads])
        _check_texts(request.project_id, request.correlation_id, request.traceparent)

        def work(connection: Connection) -> tuple[pb.CreateBeadsResponse, bool]:
            def make() -> pb.CreateBeadsResponse:
                self._high_water.admit(connection, len(asked))
                made = beads.file(
                    connection,
                    request.project_id,
                    asked,
                    request.correlation_id,
                    request.traceparent,
                )
                return pb.CreateBeadsResponse(beads=map(codec.bead_to_pb, made))

            return idempotency.once(connection, request.idempotency, pb.CreateBeadsResponse(), make)

        # What waits for a moment or for another bead is not to be sent now: only its event is.
        later = all(bead.not_before or bead.blocked_by for bead in asked)
        answer, replayed = self._run(
            work, time_left_s, idempotency.locks(request.idempotency), tells=True, gathered=later
        )
        answer.replayed = replayed
        return answer

    def get_project(self, project_id: str, time_left_s: float) -> Project:
        """One project. Raises NotFound."""
        return self._run(lambda c: projects.get(c, project_id), time_left_s)

    def list_projects(
        self, size: int, cursor: str, time_left_s: float, ids: Sequence[str] = ()
    ) -> tuple[tuple[Project, ...], str]:
        """Projects in the order of their ids, and the next cursor."""
        return self._run(lambda c: projects.page(c, size, cursor, ids), time_left_s)

    def get_bead(self, bead_id: str, transaction: str, caller: str, time_left_s: float) -> Bead:
        """One bead. Raises NotFound."""
        return self._read(lambda c: beads.get(c, bead_id), transaction, caller, time_left_s)

    def list_beads(
        self, request: pb.ListBeadsRequest, caller: str, time_left_s: float
    ) -> tuple[tuple[Bead, ...], str]:
        """Beads, and the next cursor."""
        where, sort = listing.asked(request), desk.sort_from_pb(request.sort)
        return self._read(
            lambda c: listing.page(c, where, sort, request.page_size, request.cursor),
            request.transaction_id,
            caller,
            time_left_s,
        )

    def _read(
        self, work: Callable[[Connection], T], transaction: str, caller: str, time_left_s: float
    ) -> T:
        if not transaction:
            return self._run(work, time_left_s)
        with self.transactions.use(transaction, caller, time_left_s, read_only=None) as connection:
            return work(connection)

    def save_bead(
        self, request: pb.SaveBeadRequest, caller: str, traceparent: str, time_left_s: float
    ) -> Bead:
        """File a bead, or edit one at its version."""

        def work(connection: Connection) -> Bead:
            return edits.save(
                connection, request.bead, request.expected_version, caller, traceparent
            )

        if not request.transaction_id:
            return self._run(work, time_left_s, tells=True)
        with self.transactions.use(
            request.transaction_id, caller, time_left_s, read_only=False
        ) as connection:
            return work(connection)

    def commit(self, transaction: str, caller: str, time_left_s: float) -> None:
        """Make an open transaction last. Raises NotFound."""
        self.transactions.commit(transaction, caller, time_left_s)
        self._wakeups.tell()

    def list_attempts(self, bead_id: str, time_left_s: float) -> tuple[Attempt, ...]:
        """Every try at a bead, oldest first. Raises NotFound."""
        return self._run(lambda c: beads.attempts(c, bead_id), time_left_s)

    # The trip.

    def lease_outbox(
        self, owner: str, limit: int, wait_ms: int, time_left_s: float
    ) -> list[pb.OutboxRow]:
        """Rows that are due, leased to owner; waits for one, holding no connection meanwhile."""
        if not owner or "\0" in owner or limit < 1:
            raise Invalid("a lease needs an owner, and a limit from 1", field="owner")
        ends = time.monotonic() + time_left_s
        give_up = min(ends - ANSWER_S, time.monotonic() + min(wait_ms / 1000, LONGEST_WAIT_S))
        while True:
            waited = wait_ms > 0 and self._wakeups.await_turn(give_up)
            leased = self._run(
                lambda c: outbox.lease(c, owner, limit, self._settings.outbox_lease_s),
                ends - time.monotonic(),
                (outbox.TASKS_LOCK,),
            )
            if leased:
                self._wakeups.expect_more(gathered=len(leased) < limit)
            if leased or not waited:
                return leased

    def settle_outbox(
        self,
        owner: str,
        published: Sequence[int],
        unsettled: Sequence[tuple[int, str]],
        time_left_s: float,
    ) -> tuple[int, int]:
        """Remove what the broker confirmed and put off the rest; how many were owner's."""
        return self._run(lambda c: outbox.settle(c, owner, published, unsettled), time_left_s)

    def claim_bead(self, request: pb.ClaimBeadRequest, caller: str, time_left_s: float) -> Claim:
        """Claim a bead under the epoch of its task message."""
        claims.check_claim(request.agent_id, request.request_id)
        asked = claims.Asked(
            request.bead_id,
            request.epoch,
            request.agent_id,
            request.request_id,
            request.redelivered,
            caller,
        )
        ends = time.monotonic() + time_left_s
        granted = self._claims.ask(asked, time_left_s / 2)
        if granted is not None:
            return granted
        return self._run(
            lambda c: claims.claim(c, asked, self._settings.lease_s),
            ends - time.monotonic(),
            tells=True,
            gathered=True,
        )

    def _claim_together(self, asked: Sequence[claims.Asked]) -> Sequence[Claim | None]:
        return self._run(
            lambda c: claims.claim_together(c, asked, self._settings.lease_s),
            CLAIMS_S,
            tells=True,
            gathered=True,
        )

    def renew_lease(
        self, bead_id: str, epoch: int, agent_id: str, caller: str, time_left_s: float
    ) -> float:
        """Seconds the lease lasts from now. Raises Stale."""
        return self._run(
            lambda c: claims.renew(
                c, bead_id, epoch, agent_id, self._settings.lease_s, caller=caller
            ),
            time_left_s,
        )

    def record_results(self, reports: Sequence[Report], time_left_s: float) -> tuple[Judged, ...]:
        """Apply reports, each once; what became of each."""
        _check_batch(reports)
        return self._run(
            lambda c: results.record(c, reports), time_left_s, tells=True, gathered=True
        )

    def record_dead_letters(
        self, letters: Sequence[DeadLetter], time_left_s: float
    ) -> tuple[int, int]:
        """Record letters, each once; how many were new, and how many beads they blocked."""
        _check_batch(letters)
        return self._run(lambda c: deadletters.record(c, letters), time_left_s, tells=True)

    def expire_leases(self, limit: int, time_left_s: float) -> expiry.Expired:
        """End attempts whose lease ran out."""
        done = self._run(lambda c: expiry.expire(c, limit), time_left_s)
        if done.lost:
            self._wakeups.tell()
        return done

    def reconcile(
        self, depths: Sequence[Depth], *, repair: bool, grace_s: float | None, time_left_s: float
    ) -> Reconciliation:
        """Compare with what was read of the broker, and mend if asked."""
        wait_s = reconcile.check_grace(grace_s)
        return self._run(
            lambda c: reconcile.reconcile(c, depths, repair=repair, grace_s=wait_s),
            time_left_s,
            tells=repair,
        )

    # Queries of operators.

    def execute_query(
        self, request: pb.ExecuteQueryRequest, caller: str, time_left_s: float
    ) -> query.Answer:
        """Run one SELECT as the reader; whatever comes of it is written into the audit."""
        # The caller is still there to read why it took too long.
        left_s = min(time_left_s - ANSWER_S, request.timeout_ms / 1000 or time_left_s)
        begun = time.monotonic()
        error, rows = "", 0
        try:
            with self._reading(request.transaction_id, caller, left_s) as connection:
                answer = query.execute(
                    connection,
                    request.sql,
                    [query.parameter(value) for value in request.parameters],
                    request.max_rows,
                    left_s,
                )
            rows = len(answer.rows)
        except LoomError as refused:
            error = f"{refused.code}: {refused.detail}"
            raise
        except Exception:
            error = "internal"
            raise
        finally:
            took_s = time.monotonic() - begun
            log.info(
                "query_executed", caller=caller, sql=request.sql, rows=rows,
                duration_s=round(took_s, 3), error=error,
            )  # fmt: skip
            # After the caller's own time is spent, the audit still gets some.
            self._run(
                lambda c: audit.record(
                    c,
                    caller=caller,
                    sql=request.sql,
                    parameters=len(request.parameters),
                    rows=rows,
                    duration_s=took_s,
                    error=error,
                ),
                max(time_left_s - took_s, 1.0),
            )
        return answer

    @contextmanager
    def _reading(self, transaction: str, caller: str, time_left_s: float) -> Iterator[Connection]:
        if transaction:
            with self.transactions.use(
                transaction, caller, time_left_s, read_only=True
            ) as connection:
                yield connection
        else:
            with (
                pool.named_errors(),
                pool.transaction(
                    self._readers, time_left_s, mode=READ_ONLY, keep=False
                ) as connection,
            ):
                yield connection


def _new_bead(bead: pb.NewBead) -> NewBead:
    return NewBead(
        id=bead.id,
        title=bead.title,
        description=bead.description,
        context=filing.read_context(bead.context),
        priority=bead.priority,
        not_before=codec.moment(bead.not_before) if bead.HasField("not_before") else None,
        blocked_by=tuple(bead.blocked_by),
        parent=bead.parent,
        max_attempts=bead.max_attempts,
    )


def _check_texts(*values: str) -> None:
    for value in values:
        filing.check_text(value, "text")


def _check_batch(batch: Sequence[object]) -> None:
    if len(batch) > MAX_BATCH:
        raise TooLarge(f"a batch has at most {MAX_BATCH}, not {len(batch)}", limit=str(MAX_BATCH))
