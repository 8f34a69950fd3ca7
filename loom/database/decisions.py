"""What becomes of a bead when it is claimed, reported on, lost, dead-lettered or edited.

Decisions on values: the database service and its fake carry out the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from loom.database import sub_beads
from loom.database.changes import (
    Changes,
    Edit,
    Ended,
    Event,
    Moved,
    Owed,
    Report,
    Standing,
    Started,
)
from loom.domain.evidence import Commit, FailureClass, Outcome, unproven
from loom.domain.lifecycle import Move, Resolution, State, move
from loom.domain.outbox import ClaimVerdict, ResultVerdict
from loom.domain.retry import after_failure
from loom.errors import IllegalTransition, Stale
from loom.messaging.deadletter import DeadLetter
from loom.messaging.topology import RESULTS_QUEUE

NOTHING = Changes()
NOTHING_ASKED = sub_beads.Asked()
TOLD = 2_000
"""How many characters of a text an event carries; the ledger has the whole."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The answer to a claim, and what it writes."""

    verdict: ClaimVerdict
    epoch: int = 0
    attempt: int = 0
    lease_s: float = 0.0
    changes: Changes = NOTHING


@dataclass(frozen=True, slots=True)
class Judged:
    """What becomes of a result. kept: its id goes into the inbox, so that it is judged once."""

    verdict: ResultVerdict
    detail: str = ""
    changes: Changes = NOTHING
    kept: bool = True


def claim(
    bead: Standing,
    epoch: int,
    agent_id: str,
    request_id: str,
    *,
    lease_s: float,
    redelivered: bool,
    held_back: bool = False,
) -> Claimed:
    """Decide on a claim under the epoch of a task message.

    A redelivered message proves that its former holder lost it, so that the claim is taken over
    under a new epoch. A held bead is owed a new message when the lease runs out. held_back: the
    bead may not start now, so that its message is owed again; and for a takeover, the lease has to
    run out first.
    """
    running = bead.running
    if bead.state is State.IN_PROGRESS and running is not None:
        if running.request_id == request_id and running.lease_left_s > 0:
            return Claimed(ClaimVerdict.GRANTED, running.epoch, bead.attempts, running.lease_left_s)
        if bead.epoch == epoch:
            if not redelivered or held_back:
                return Claimed(ClaimVerdict.HELD)
            reason = f"{agent_id} took it over: the broker delivered its message again"
            started = Started(bead.id, bead.epoch + 1, agent_id, request_id, lease_s)
            return _grant(bead, started, reason)
    if startable(bead, epoch):
        if held_back:
            # Under a row of its own: a dispatcher that has yet to settle the old one settles none.
            again = Changes(withdrawn=(bead.id,), owed=(owe(bead),), recalled=(bead.id,))
            return Claimed(ClaimVerdict.DEFERRED, changes=again)
        return _grant(bead, Started(bead.id, epoch, agent_id, request_id, lease_s))
    return Claimed(ClaimVerdict.STALE)


def startable(bead: Standing, epoch: int) -> bool:
    """Whether a message of this epoch is the one that the open bead waits for."""
    return bead.state is State.OPEN and bead.epoch == epoch - 1


def _grant(bead: Standing, started: Started, superseded: str = "") -> Claimed:
    epoch, attempt = started.epoch, bead.attempts + 1
    changes = _move(bead, Move.CLAIM, "bead.claimed", "", epoch=epoch, attempts=attempt)
    changes += Changes(started=(started,))
    if superseded:
        changes = _end(bead, "superseded", Outcome(succeeded=False, reason=superseded)) + changes
    return Claimed(ClaimVerdict.GRANTED, epoch, attempt, started.lease_s, changes)


def result(  # noqa: PLR0911 - one answer a verdict
    bead: Standing | None, report: Report, jitter: float
) -> Judged:
    """Decide on a report.

    Unknown and unproven reports are not kept: they are judged anew if they are sent again, by a
    ledger that may know more by then.
    """
    if bead is None or bead.project_id != report.project_id:
        detail = f"the ledger has no bead {report.bead_id} in project {report.project_id}"
        return Judged(ResultVerdict.UNKNOWN, detail, kept=False)
    if report.epoch > bead.epoch:
        detail = f"bead {bead.id} is at epoch {bead.epoch}, before the report's {report.epoch}"
        return Judged(ResultVerdict.UNKNOWN, detail, kept=False)
    behind = _why_stale(bead, report)
    if behind:
        data = {"agent_id": report.agent_id, "epoch": report.epoch, "detail": behind}
        event = _event(bead, "attempt.stale", data, report)
        return Judged(ResultVerdict.STALE, behind, Changes(events=(event,)))
    if report.progress:
        data = {
            "agent_id": report.agent_id,
            "epoch": report.epoch,
            "output": report.outcome.output[-TOLD:],
        }
        event = _event(bead, "attempt.progress", data, report)
        return Judged(ResultVerdict.APPLIED, changes=Changes(events=(event,)))
    if not report.outcome.succeeded:
        return Judged(ResultVerdict.APPLIED, changes=_failed(bead, "failed", report, jitter))
    fault = unproven(report.outcome, allow_no_tests=bead.allow_no_tests)
    if fault:
        return Judged(ResultVerdict.UNPROVEN, fault, kept=False)
    commits = report.outcome.commits
    asked = sub_beads.of(bead, report)
    changes = _end(bead, "succeeded", asked.told(report.outcome))
    changes += _move(
        bead, Move.SUCCEED, "bead.closed", "", commits=commits, report=report, asked=asked
    )
    return Judged(ResultVerdict.APPLIED, changes=changes)


def _why_stale(bead: Standing, report: Report) -> str:
    running = bead.running
    if report.epoch < bead.epoch:
        return f"bead {bead.id} has moved on to epoch {bead.epoch}"
    if bead.state is not State.IN_PROGRESS or running is None or running.epoch != report.epoch:
        return f"the attempt of epoch {report.epoch} has ended"
    if running.agent_id != report.agent_id:
        return f"the attempt is {running.agent_id}'s, not {report.agent_id}'s"
    return ""


def lost(bead: Standing, jitter: float) -> Changes:
    """The lease of the running attempt ran out: owe another, or block the bead."""
    agent = bead.running.agent_id if bead.running else "its agent"
    outcome = Outcome(
        succeeded=False,
        failure_class=FailureClass.INFRA,
        reason=f"{agent} let the lease run out",
    )
    report = Report("", bead.project_id, bead.id, bead.epoch, agent, outcome)
    return _failed(bead, "lost", report, jitter)


def _failed(bead: Standing, outcome: str, report: Report, jitter: float) -> Changes:
    evidence = report.outcome
    decision = after_failure(
        evidence.failure_class or FailureClass.WORK,
        bead.attempts - bead.forgiven,
        evidence.reason or "the agent gave no reason",
        jitter,
        bead.max_attempts,
    )
    told = {Move.FAIL: "bead.closed", Move.RETRY: "bead.retried", Move.BLOCK: "bead.blocked"}
    asked = sub_beads.of(bead, report) if decision.move is Move.FAIL else NOTHING_ASKED
    changes = _end(bead, outcome, asked.told(evidence))
    changes += _move(
        bead, decision.move, told[decision.move], decision.reason, report=report, asked=asked
    )
    if decision.move is Move.RETRY:
        changes += Changes(owed=(owe(bead, decision.delay_s),))
    return changes


def dead(bead: Standing | None, letter: DeadLetter) -> Changes:
    """Block the bead whose owed message died, or whose running attempt's result was refused.

    Of the one, no agent will ever get it; of the other, no result will ever come.
    """
    if bead is None or bead.project_id != letter.project_id:
        return Changes()
    why = f"{letter.reason}: {letter.detail[:TOLD]}. Mend the cause, then unblock the bead."
    if letter.queue == RESULTS_QUEUE:
        running = bead.running
        if bead.state is not State.IN_PROGRESS or running is None or running.epoch != letter.epoch:
            return Changes()
        reason = f"the result of its attempt {letter.epoch} was refused: {why}"
        ended = _end(bead, "failed", Outcome(succeeded=False, reason=reason))
        return ended + _move(bead, Move.BLOCK, "bead.blocked", reason)
    if bead.state is not State.OPEN or bead.epoch != letter.epoch - 1:
        return Changes()
    reason = f"its task message died in {letter.queue}: {why}"
    return _move(bead, Move.BLOCK, "bead.blocked", reason) + Changes(withdrawn=(bead.id,))


@dataclass(frozen=True, slots=True)
class Wish:
    """What SaveBead asks for. state and resolution: empty to keep them; edit: None to keep all."""

    expected_version: int
    caller: str
    state: str = ""
    resolution: str = ""
    reason: str = ""
    edit: Edit | None = None


def save(bead: Standing, wish: Wish) -> Changes:
    """Edit a bead and move it. Raises Stale (version) or IllegalTransition."""
    if wish.expected_version != bead.version:
        raise Stale(
            f"bead {bead.id} is at version {bead.version}, not {wish.expected_version}: "
            "read it again and repeat the edit",
            bead_id=bead.id,
            version=str(bead.version),
        )
    by = _wished_move(bead, wish)
    if wish.edit is not None and bead.state not in (State.OPEN, State.BLOCKED):
        raise IllegalTransition(
            f"bead {bead.id} is {bead.state.value}: only an open or blocked bead can be edited",
            bead_id=bead.id,
            state=bead.state.value,
        )
    if by is None:
        return _edited(bead, wish)
    reason = wish.reason or f"{wish.caller} asked for it"
    changes = Changes()
    if bead.state is State.IN_PROGRESS:
        outcome = "cancelled" if by is Move.CANCEL else "superseded"
        changes += _end(bead, outcome, Outcome(succeeded=False, reason=reason))
    if by is Move.UNBLOCK:
        priority = wish.edit.priority if wish.edit else bead.priority
        changes += _move(
            bead, by, "bead.unblocked", "", forgiven=bead.attempts, edit=wish.edit
        ) + Changes(owed=(owe(replace(bead, priority=priority)),))
    else:
        told = "bead.closed" if by is Move.CANCEL else "bead.blocked"
        changes += _move(bead, by, told, reason, edit=wish.edit)
        changes += Changes(withdrawn=(bead.id,))
    return changes


def _wished_move(bead: Standing, wish: Wish) -> Move | None:
    """The move that leads to the wished state; None when it is there."""
    if wish.resolution and wish.state != State.CLOSED.value:
        raise IllegalTransition(
            f"bead {bead.id} can have a resolution only when it is closed", bead_id=bead.id
        )
    if wish.state in ("", bead.state.value) and bead.state is not State.CLOSED:
        return None
    if wish.state == State.CLOSED.value and wish.resolution in ("", Resolution.CANCELLED.value):
        return Move.CANCEL
    by = {State.BLOCKED.value: Move.BLOCK, State.OPEN.value: Move.UNBLOCK}.get(wish.state)
    if by is None or bead.state is State.CLOSED:
        raise IllegalTransition(
            f"bead {bead.id} is {bead.state.value}: it can be blocked, unblocked or cancelled "
            "here; a claim and the report of an attempt do the rest, and a closed bead stays "
            "closed",
            bead_id=bead.id,
            state=bead.state.value,
        )
    return by


def _edited(bead: Standing, wish: Wish) -> Changes:
    if wish.edit is None:
        return Changes()
    moved = Moved(
        bead.id,
        bead.state,
        None,
        wish.reason or bead.reason,
        bead.epoch,
        bead.attempts,
        bead.forgiven,
        edit=wish.edit,
    )
    event = _event(bead, "bead.edited", {"by": wish.caller, "version": bead.version + 1})
    return Changes(moved=(moved,), events=(event,))


def owe(bead: Standing, delay_s: float = 0.0) -> Owed:
    """The task message of the bead's next attempt."""
    return Owed(
        bead_id=bead.id,
        project_id=bead.project_id,
        epoch=bead.epoch + 1,
        attempt=bead.attempts + 1,
        priority=bead.priority,
        correlation_id=bead.correlation_id,
        traceparent=bead.traceparent,
        delay_s=delay_s,
        since=bead.since,
        gated=bead.gated,
    )


def _move(
    bead: Standing,
    by: Move,
    told: str,
    reason: str,
    *,
    epoch: int | None = None,
    attempts: int | None = None,
    forgiven: int | None = None,
    commits: tuple[Commit, ...] | None = None,
    edit: Edit | None = None,
    report: Report | None = None,
    asked: sub_beads.Asked = NOTHING_ASKED,
) -> Changes:
    state, resolution = move(bead.id, bead.state, by)
    moved = Moved(
        id=bead.id,
        state=state,
        resolution=resolution,
        reason=reason,
        epoch=bead.epoch if epoch is None else epoch,
        attempts=bead.attempts if attempts is None else attempts,
        forgiven=bead.forgiven if forgiven is None else forgiven,
        commits=commits,
        edit=edit,
    )
    data: dict[str, Any] = {
        "state": state.value,
        "epoch": moved.epoch,
        "attempt": moved.attempts,
        "reason": reason[:TOLD],
        **asked.facts(),
    }
    if resolution:
        data["resolution"] = resolution.value
    if commits:
        data["commits"] = [{"sha": c.sha, "branch": c.branch} for c in commits]
    event = _event(replace(bead, epoch=moved.epoch), told, data, report)
    return Changes(moved=(moved,), events=(event,), filed=asked.filed)


def _end(bead: Standing, outcome: str, evidence: Outcome) -> Changes:
    ended = Ended(bead.id, bead.epoch, outcome, evidence)
    data = {"epoch": bead.epoch, "outcome": outcome, "reason": evidence.reason[:TOLD]}
    if evidence.failure_class:
        data["failure_class"] = evidence.failure_class.value
    return Changes(ended=(ended,), events=(_event(bead, "attempt.ended", data),))


def _event(
    bead: Standing, kind: str, data: Mapping[str, Any], report: Report | None = None
) -> Event:
    traceparent = (report.traceparent if report else "") or bead.traceparent
    return Event(kind, bead.project_id, bead.id, bead.epoch, data, bead.correlation_id, traceparent)
