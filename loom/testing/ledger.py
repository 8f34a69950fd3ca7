"""FakeLedger: the database service in memory, for tests of the services that call it.

It carries out the same decisions as the real one and passes the same suite
(tests/contract/test_ledger_contract.py). Time stands still until `advance`.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from loom.clients.database import Filed, Page, Recorded
from loom.database import cursor as cursors
from loom.database import decisions, filing, judging, reconcile, reports, sub_beads
from loom.database.beads import closed as closed_project
from loom.database.beads import missing as missing_bead
from loom.database.changes import Changes, Event, Owed, Running, Standing
from loom.database.claims import check_claim
from loom.database.expiry import expired
from loom.database.projects import missing as missing_project
from loom.database.reconcile_changes import LOST, reopened, reowed
from loom.domain.bead import Attempt, Bead, NewBead
from loom.domain.identity import new_message_id
from loom.domain.lifecycle import State
from loom.domain.outbox import Claim, ClaimVerdict, OutboxKind, OutboxRow
from loom.domain.priority import rank, waiting_since
from loom.domain.project import Project, ProjectState
from loom.domain.reconciliation import (
    Depth,
    Held,
    Mended,
    Reconciliation,
    compare,
    to_owe,
)
from loom.errors import Conflict, IdempotencyKeyReused, Invalid, Stale
from loom.messaging.result import ResultMessage
from loom.rpc import codec
from loom.testing.access import FakeAccess
from loom.testing.comments import FakeComments
from loom.testing.desk import FakeDesk
from loom.testing.events import FakeEvents
from loom.testing.imports import FakeImports
from loom.testing.letters import FakeLetters
from loom.testing.logs import FakeLogs
from loom.testing.presence import FakePresence
from loom.testing.statistics import FakeStatistics
from loom.testing.waiting import FakeWaiting
from loom.testing.webhooks import FakeWebhooks

TICK = timedelta(microseconds=1)
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Kept:
    bead: Bead
    traceparent: str
    attempts: int = 0
    forgiven: int = 0
    dispatched_epoch: int = 0
    dispatched_at: datetime = NEVER


@dataclass(slots=True)
class _Due:
    row: OutboxRow
    available_at: datetime
    rank: datetime = NEVER
    owner: str = ""
    leased_until: datetime = NEVER
    tries: int = 0
    last_error: str = ""


@dataclass(slots=True)
class _Try:
    attempt: Attempt
    request_id: str


@dataclass(slots=True)
class _Tables:
    projects: dict[str, Project] = field(default_factory=dict)
    beads: dict[str, _Kept] = field(default_factory=dict)
    tries: dict[str, list[_Try]] = field(default_factory=dict)
    outbox: dict[int, _Due] = field(default_factory=dict)
    inbox: set[str] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)
    answers: dict[str, tuple[str, Any]] = field(default_factory=dict)


class FakeLedger(
    FakeImports,
    FakeComments,
    FakeDesk,
    FakeLetters,
    FakeWaiting,
    FakePresence,
    FakeLogs,
    FakeEvents,
    FakeAccess,
    FakeStatistics,
    FakeWebhooks,
):
    """The methods of loom.clients.database.DatabaseClient, on memory; safe for threads."""

    _tables: _Tables

    def __init__(
        self,
        lease_s: float = 30.0,
        outbox_lease_s: float = 15.0,
        jitter: Callable[[], float] = random.random,
        now: datetime | None = None,
    ) -> None:
        FakeLetters.__init__(self)
        FakeWaiting.__init__(self)
        FakePresence.__init__(self)
        FakeLogs.__init__(self)
        FakeComments.__init__(self)
        FakeImports.__init__(self)
        FakeAccess.__init__(self)
        FakeEvents.__init__(self)
        FakeWebhooks.__init__(self)
        self._lease_s = lease_s
        self._outbox_lease_s = outbox_lease_s
        self._jitter = jitter
        self._now = now or datetime.now(UTC)
        self._tables = _Tables()
        self._next_id = 1
        self._lock = threading.RLock()
        self._added = threading.Condition(self._lock)

    @property
    def events(self) -> tuple[Event, ...]:
        """The journal."""
        return tuple(self._tables.events)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        with self._lock:
            self._now += timedelta(seconds=seconds)
            self._added.notify_all()

    def close(self) -> None:
        """Nothing is open."""

    # Projects and beads.

    def create_project(
        self, project: Project, correlation_id: str, traceparent: str = "",
        idempotency: tuple[str, str] = ("", ""),
    ) -> Filed[Project]:  # fmt: skip
        """As the client."""
        checked = filing.check_project(project)

        def make() -> Filed[Project]:
            if checked.id in self._tables.projects:
                raise Conflict(
                    f"project {checked.id} exists already: leave out the id, or take another",
                    project_id=checked.id,
                )
            made = replace(checked, created_at=self._tick())
            self._tables.projects[made.id] = made
            data = {"name": made.name, "repository": made.repository}
            event = Event("project.created", made.id, "", 0, data, correlation_id, traceparent)
            self._apply(Changes(events=(event,)))
            return Filed((made,))

        return self._once(idempotency, make)

    def get_project(self, project_id: str) -> Project:
        """As the client."""
        with self._lock:
            if project_id not in self._tables.projects:
                raise missing_project(project_id)
            return self._tables.projects[project_id]

    def list_projects(
        self, page_size: int = 100, cursor: str = "", ids: Sequence[str] = ()
    ) -> Page[Project]:
        """As the client."""
        size = cursors.page_size(page_size, 100, 500)
        after = str(cursors.read(cursor, str)[0]) if cursor else ""
        with self._lock:
            found = sorted(
                (
                    p
                    for p in self._tables.projects.values()
                    if p.id > after and (not ids or p.id in ids)
                ),
                key=lambda p: p.id,
            )
        more = cursors.write(found[size - 1].id) if len(found) > size else ""
        return Page(tuple(found[:size]), more)

    def create_beads(
        self, project_id: str, beads: Sequence[NewBead], correlation_id: str,
        traceparent: str = "", idempotency: tuple[str, str] = ("", ""),
    ) -> Filed[Bead]:  # fmt: skip
        """As the client."""
        for bead in beads:
            filing.read_context(json.dumps(dict(bead.context)))
        asked = filing.check_beads(beads)

        def make() -> Filed[Bead]:
            if project_id not in self._tables.projects:
                raise missing_project(project_id)
            for bead in asked:
                if bead.id in self._tables.beads:
                    raise Conflict(
                        f"bead {bead.id} exists already: leave out the id, or take another",
                        bead_id=bead.id,
                    )
            if self._tables.projects[project_id].state is ProjectState.CLOSED:
                raise closed_project(project_id)
            self._check_links(list(asked))
            made = tuple(
                self._file(bead, project_id, correlation_id, traceparent) for bead in asked
            )
            return Filed(made)

        return self._once(idempotency, make)

    def _file(self, new: NewBead, project_id: str, correlation_id: str, traceparent: str) -> Bead:
        at = self._tick()
        bead = Bead(
            id=new.id, project_id=project_id, title=new.title, description=new.description,
            context=new.context, priority=new.priority, state=State.OPEN, epoch=0, version=1,
            correlation_id=correlation_id, created_at=at, updated_at=at,
            not_before=new.not_before, blocked_by=new.blocked_by, parent=new.parent,
            max_attempts=new.max_attempts,
        )  # fmt: skip
        self._tables.beads[new.id] = _Kept(bead, traceparent)
        data = {"title": new.title, "priority": new.priority, "state": "open"}
        event = Event("bead.created", project_id, new.id, 0, data, correlation_id, traceparent)
        owed = decisions.owe(self._standing(new.id))
        self._apply(Changes(owed=(owed,), events=(event,)))
        return bead

    def _keep(self, bead: Bead, traceparent: str) -> None:
        self._tables.beads[bead.id] = _Kept(bead, traceparent)

    def get_bead(self, bead_id: str) -> Bead:
        """As the client."""
        with self._lock:
            if bead_id not in self._tables.beads:
                raise missing_bead(bead_id)
            return self._tables.beads[bead_id].bead

    def list_attempts(self, bead_id: str) -> tuple[Attempt, ...]:
        """As the client."""
        self.get_bead(bead_id)
        with self._lock:
            return tuple(t.attempt for t in self._tables.tries.get(bead_id, ()))

    # The trip.

    def lease_outbox(self, owner: str, limit: int, wait_ms: int = 0) -> tuple[OutboxRow, ...]:
        """As the client; waiting is for another thread to add a row."""
        if not owner or limit < 1:
            raise Invalid("a lease needs an owner, and a limit from 1", field="owner")
        with self._lock:
            leased = self._lease(owner, limit)
            if not leased and wait_ms:
                self._added.wait(wait_ms / 1000)
                leased = self._lease(owner, limit)
            return leased

    def _lease(self, owner: str, limit: int) -> tuple[OutboxRow, ...]:
        events = sorted(
            (
                due
                for due in self._tables.outbox.values()
                if due.row.kind is not OutboxKind.TASK
                and max(due.leased_until, due.available_at) <= self._now
            ),
            key=lambda due: due.row.id,
        )
        turns = [(turn, 0, due) for turn, due in enumerate(self._next_tasks(limit))]
        turns += [(turn, 1, due) for turn, due in enumerate(events)]
        picked = [d for _, _, d in sorted(turns, key=lambda turn: turn[:2])[:limit]]
        self._served(d.row.project_id for d in picked if d.row.kind is OutboxKind.TASK)
        for waiting in picked:
            waiting.owner = owner
            waiting.leased_until = self._now + timedelta(seconds=self._outbox_lease_s)
            waiting.tries += 1
        return tuple(self._with_words(waiting.row) for waiting in picked)

    def _with_words(self, row: OutboxRow) -> OutboxRow:
        if row.kind is not OutboxKind.TASK:
            return row
        bead = self._tables.beads[row.bead_id].bead
        payload = {
            "title": bead.title, "description": bead.description, "context": bead.context,
        }  # fmt: skip
        return replace(row, payload=payload)

    def settle_outbox(
        self, owner: str, published: Sequence[int], unsettled: Sequence[tuple[int, str]] = ()
    ) -> tuple[int, int]:
        """As the client."""
        with self._lock:
            gone = [i for i in dict.fromkeys(published) if self._owned(i, owner)]
            for id_ in gone:
                row = self._tables.outbox.pop(id_).row
                if row.kind is OutboxKind.TASK:
                    kept = self._tables.beads[row.bead_id]
                    if kept.dispatched_epoch < row.epoch:
                        kept.dispatched_epoch, kept.dispatched_at = row.epoch, self._now
            put_off = [(i, why) for i, why in unsettled if self._owned(i, owner)]
            for id_, why in put_off:
                waiting = self._tables.outbox[id_]
                waiting.last_error = why
                waiting.owner = ""
                waiting.leased_until = self._now
                delay_s = min(60.0, 0.5 * 2**waiting.tries)
                waiting.available_at = self._now + timedelta(seconds=delay_s)
            return len(gone), len(put_off)

    def _owned(self, id_: int, owner: str) -> bool:
        waiting = self._tables.outbox.get(id_)
        return waiting is not None and waiting.owner == owner

    def claim_bead(
        self, bead_id: str, epoch: int, agent_id: str, *, redelivered: bool = False,
        request_id: str = "",
    ) -> Claim:  # fmt: skip
        """As the client."""
        request_id = request_id or new_message_id()
        check_claim(agent_id, request_id)
        with self._lock:
            if bead_id not in self._tables.beads:
                return Claim(ClaimVerdict.UNKNOWN)
            decision = decisions.claim(
                self._standing(bead_id), epoch, agent_id, request_id,
                lease_s=self._lease_s, redelivered=redelivered,
                held_back=self._held_back(bead_id, epoch),
            )  # fmt: skip
            if decision.verdict is ClaimVerdict.DEFERRED:
                self._apply(decision.changes)
            if decision.verdict is not ClaimVerdict.GRANTED:
                return Claim(decision.verdict)
            self._apply(decision.changes)
            bead = self._tables.beads[bead_id].bead
            earlier = [a for a in self.list_attempts(bead_id) if a.epoch < decision.epoch]
            return Claim(
                decision.verdict, decision.epoch, decision.attempt, decision.lease_s, bead,
                self._tables.projects[bead.project_id],
                earlier[-1].retold() if earlier else None,
            )  # fmt: skip

    def renew_lease(self, bead_id: str, epoch: int, agent_id: str) -> float:
        """As the client."""
        with self._lock:
            kept = self._tables.beads.get(bead_id)
            running = self._standing(bead_id).running if kept else None
            if (
                kept is None
                or running is None
                or (running.epoch, running.agent_id) != (epoch, agent_id)
                or running.lease_left_s <= 0
            ):
                raise Stale(f"the attempt of epoch {epoch} no longer holds bead {bead_id}")
            self._retry(bead_id, lambda a: replace(a, lease_until=self._lease_end()))
            return self._lease_s

    def record_results(self, results: Sequence[tuple[ResultMessage, str]]) -> tuple[Recorded, ...]:
        """As the client."""
        said = [reports.from_pb(codec.result_to_pb(m, traceparent)) for m, traceparent in results]
        with self._lock:
            standings = {
                r.bead_id: self._standing(r.bead_id)
                for r in said
                if r.bead_id in self._tables.beads
            }
            batch = judging.judge(said, standings, self._tables.inbox, self._jitter)
            self._apply(batch.changes)
            self._tables.inbox.update(batch.kept(said))
        return tuple(
            Recorded(report.message_id, judged.verdict, judged.detail)
            for report, judged in zip(said, batch.judged, strict=True)
        )

    def expire_leases(self, limit: int = 500) -> tuple[int, int, int]:
        """As the client."""
        with self._lock:
            over = [
                standing
                for standing in map(self._standing, self._tables.beads)
                if standing.running is not None and standing.running.lease_left_s <= 0
            ]
            changes = Changes()
            for standing in over[:limit]:
                changes += decisions.lost(standing, self._jitter())
            self._apply(changes)
            counts = expired(changes)
            return counts.lost, counts.retried, counts.blocked

    def reconcile(
        self, depths: Sequence[Depth], *, repair: bool = False, grace_s: float | None = None
    ) -> Reconciliation:
        """As the client."""
        due = self._now - timedelta(seconds=reconcile.check_grace(grace_s))
        with self._lock:
            age = timedelta(seconds=max((depth.age_s for depth in depths), default=0.0))
            held = [self._held(project_id, due, age) for project_id in self._tables.projects]
            queues = reconcile.queues_of(list(self._tables.projects), depths)
            accounts = compare(held, queues)
            if not repair:
                return Reconciliation(accounts)
            lost = [id_ for each in to_owe(accounts) for id_ in self._overdue(each, due - age)]
            stuck = [id_ for id_, kept in self._tables.beads.items() if self._adrift(kept, due)]
            changes = Changes()
            for id_ in lost:
                changes += reowed(self._standing(id_), LOST)
            for id_ in stuck:
                changes += reopened(self._standing(id_))
            self._apply(changes)
            for id_ in lost:
                self._tables.beads[id_].dispatched_epoch = 0
            over = any(each.held.expired for each in accounts)
            ended = self.expire_leases()[0] if over else 0
            return Reconciliation(accounts, Mended(len(lost), len(stuck), ended))

    def _held(self, project_id: str, due: datetime, age: timedelta) -> Held:
        beads = {k: b for k, b in self._tables.beads.items() if b.bead.project_id == project_id}
        tries = [
            one.attempt
            for id_ in beads
            for one in self._tables.tries.get(id_, ())
            if one.attempt.outcome == "running"
        ]
        return Held(
            project_id,
            owed=sum(self._is_owed(kept) for kept in beads.values()),
            dispatched=sum(self._on_broker(kept) for kept in beads.values()),
            overdue=len(self._overdue(project_id, due - age)),
            running=sum(attempt.claimed_at <= self._now - age for attempt in tries),
            expired=sum(attempt.lease_until <= due for attempt in tries),
            stuck=sum(self._adrift(kept, due) for kept in beads.values()),
            dead=sum(letter.project_id == project_id for letter in self._letters),
        )

    def _is_owed(self, kept: _Kept) -> bool:
        return kept.bead.state is State.OPEN and any(
            due.row.kind is OutboxKind.TASK
            and (due.row.bead_id, due.row.epoch) == (kept.bead.id, kept.bead.epoch + 1)
            for due in self._tables.outbox.values()
        )

    def _on_broker(self, kept: _Kept) -> bool:
        dispatched = kept.dispatched_epoch == kept.bead.epoch + 1
        return kept.bead.state is State.OPEN and dispatched and not self._is_owed(kept)

    def _overdue(self, project_id: str, due: datetime) -> list[str]:
        return [
            id_
            for id_, kept in self._tables.beads.items()
            if kept.bead.project_id == project_id
            and self._on_broker(kept)
            and kept.dispatched_at <= due
        ]

    def _adrift(self, kept: _Kept, due: datetime) -> bool:
        if kept.bead.updated_at > due:
            return False
        if kept.bead.state is State.IN_PROGRESS:
            return self._standing(kept.bead.id).running is None
        sent = kept.dispatched_epoch == kept.bead.epoch + 1
        return kept.bead.state is State.OPEN and not sent and not self._is_owed(kept)

    # What the tables hold.

    def _tick(self) -> datetime:
        self._now += TICK
        return self._now

    def _lease_end(self) -> datetime:
        return self._now + timedelta(seconds=self._lease_s)

    def _once(self, idempotency: tuple[str, str], make: Callable[[], Filed[Any]]) -> Filed[Any]:
        key, fingerprint = idempotency
        with self._lock:
            if key in self._tables.answers:
                known, answer = self._tables.answers[key]
                if known != fingerprint:
                    raise IdempotencyKeyReused(
                        "this idempotency key was used for another request: take a fresh key "
                        "for a fresh request"
                    )
                return Filed(answer.items, replayed=True)
            answer = make()
            if key:
                self._tables.answers[key] = (fingerprint, answer)
            return answer

    def _standing(self, bead_id: str) -> Standing:
        kept = self._tables.beads[bead_id]
        bead = kept.bead
        running = None
        for one in self._tables.tries.get(bead_id, ()):
            if one.attempt.outcome == "running":
                left_s = (one.attempt.lease_until - self._now).total_seconds()
                running = Running(one.attempt.epoch, one.attempt.agent_id, one.request_id, left_s)
        return Standing(
            id=bead.id, project_id=bead.project_id, state=bead.state, epoch=bead.epoch,
            attempts=kept.attempts, forgiven=kept.forgiven, version=bead.version,
            priority=bead.priority, correlation_id=bead.correlation_id,
            traceparent=kept.traceparent, reason=bead.reason, running=running,
            since=waiting_since(bead.created_at, bead.not_before), gated=self._gated(bead_id),
            max_attempts=bead.max_attempts
            or self._tables.projects[bead.project_id].max_attempts,
            allow_no_tests=self._tables.projects[bead.project_id].rules.allow_no_tests,
            generation=sub_beads.generation(bead.context.get(sub_beads.GENERATION)),
        )  # fmt: skip

    def _retry(self, bead_id: str, change: Callable[[Attempt], Attempt]) -> None:
        for one in self._tables.tries[bead_id]:
            if one.attempt.outcome == "running":
                one.attempt = change(one.attempt)

    def _apply(self, changes: Changes) -> None:
        at = self._now
        for move in changes.moved:
            kept = self._tables.beads[move.id]
            closed_at = at if move.state is State.CLOSED else None
            kept.bead = replace(
                kept.bead, state=move.state, resolution=move.resolution, reason=move.reason,
                epoch=move.epoch, version=kept.bead.version + 1, updated_at=at,
                closed_at=closed_at,
                commits=kept.bead.commits if move.commits is None else move.commits,
            )  # fmt: skip
            kept.attempts, kept.forgiven = move.attempts, move.forgiven
            if move.state is State.BLOCKED:
                kept.dispatched_epoch = 0
        for end in changes.ended:
            evidence = end.evidence
            self._retry(
                end.bead_id,
                lambda a, end=end, evidence=evidence: replace(  # type: ignore[misc]
                    a, outcome=end.outcome, finished_at=at, reason=evidence.reason,
                    failure_class=evidence.failure_class, steps=evidence.steps,
                    commits=evidence.commits, output=evidence.output,
                    artifacts=evidence.artifacts, notes=evidence.notes,
                ),
            )  # fmt: skip
        for start in changes.started:
            attempt = Attempt(
                start.bead_id, start.epoch, start.agent_id, "running", at,
                at + timedelta(seconds=start.lease_s),
            )  # fmt: skip
            self._tables.tries.setdefault(start.bead_id, []).append(_Try(attempt, start.request_id))
        for id_, due in list(self._tables.outbox.items()):
            if due.row.kind is OutboxKind.TASK and due.row.bead_id in changes.withdrawn:
                del self._tables.outbox[id_]
        for recalled in changes.recalled:
            self._tables.beads[recalled].dispatched_epoch = 0
        for owed in changes.owed:
            self._owe_task(owed)
        for event in changes.events:
            message_id = new_message_id()
            self._tables.events.append(event)
            self._tell(event, message_id)
            self._owe(
                OutboxRow(
                    0, OutboxKind.EVENT, event.type, message_id, event.project_id,
                    event.bead_id, event.epoch, 0, event.correlation_id, event.traceparent, at,
                    dict(event.data),
                )
            )  # fmt: skip
        for filed in changes.filed:
            if filed.bead.id not in self._tables.beads:
                self._file(filed.bead, filed.project_id, filed.correlation_id, filed.traceparent)

    def _owe_task(self, owed: Owed) -> None:
        row = OutboxRow(
            0, OutboxKind.TASK, "task.assigned", new_message_id(), owed.project_id, owed.bead_id,
            owed.epoch, owed.attempt, owed.correlation_id, owed.traceparent, self._now,
        )  # fmt: skip
        due_in_s = max(owed.delay_s, (owed.since - self._now).total_seconds())
        self._owe(row, due_in_s, rank(owed.priority, owed.since))

    def _owe(self, row: OutboxRow, delay_s: float = 0.0, place: datetime = NEVER) -> None:
        id_, self._next_id = self._next_id, self._next_id + 1
        self._tables.outbox[id_] = _Due(
            replace(row, id=id_), self._now + timedelta(seconds=delay_s), place
        )
        self._added.notify_all()
