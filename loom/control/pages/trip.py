"""A bead's way, hop by hop: what happened when, and how long each part took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from loom.control.pages.words import span
from loom.domain.bead import Attempt, Bead
from loom.domain.event import EventLine
from loom.domain.evidence import Step, StepKind
from loom.domain.lifecycle import Resolution, State
from loom.domain.statistics import Trip
from loom.domain.waiting import Why

WHOLE = 1000
"""The width of a bar, in its own units."""
LEAST = 3
"""What is shorter is drawn as wide as this."""
TOLD = {
    "bead.edited": "Edited",
    "bead.unblocked": "Unblocked",
    "bead.reowed": "Owed again",
    "bead.assigned": "Taken by hand",
    "bead.released": "Given back to the agents",
    "attempt.stale": "A late report changed nothing",
}
"""Events that are told beside the hops."""
WORK_KINDS = {StepKind.BUILD, StepKind.LINT, StepKind.TEST}


@dataclass(frozen=True, slots=True)
class Hop:
    """Something that happened. kind: good, bad, warn, busy or empty. took: since what came before.

    minor: a part of the hop before it. running: it has not ended, and at is when it began.
    """

    what: str
    at: datetime | None = None
    took: float | None = None
    more: str = ""
    kind: str = ""
    minor: bool = False
    running: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar, in its units. kind: wait, queue, work, good, bad or rest."""

    x: float
    width: float
    kind: str
    name: str
    seconds: float


def hops(
    bead: Bead, attempts: Sequence[Attempt], trip: Trip, events: Sequence[EventLine], why: Why
) -> tuple[Hop, ...]:
    """All of it, in the order in which it happened."""
    found = list(_main(bead, attempts, trip, why))
    told = [
        Hop(TOLD[event.type], event.at, more=_said(event), minor=True)
        for event in events
        if event.type in TOLD
    ]
    for hop in told:
        later = [n for n, each in enumerate(found) if each.at and each.at > (hop.at or each.at)]
        # Steps have no moment of their own: they stay with what they are a part of.
        place = later[0] if later else len(found)
        while 0 < place < len(found) and found[place - 1].minor and found[place - 1].at is None:
            place -= 1
        found.insert(place, hop)
    return tuple(found)


def bar(attempt: Attempt, trip: Trip, since: datetime) -> tuple[Part, ...]:
    """Where the time of an attempt went, from since (when it was owed) to its end."""
    spans: list[tuple[str, str, float]] = []
    begin = attempt.claimed_at
    if _told_of(attempt, trip) and trip.dispatched_at:
        spans.append(("wait", "in the ledger", _seconds(since, trip.dispatched_at)))
        spans.append(("queue", "in the queue", _seconds(trip.dispatched_at, begin)))
    else:
        spans.append(("wait", "waited", _seconds(since, begin)))
    spans += [(_kind_of(step), step.name, step.duration_s) for step in attempt.steps]
    if attempt.finished_at:
        rest = _seconds(begin, attempt.finished_at) - sum(s.duration_s for s in attempt.steps)
        spans.append(("rest", "between steps, reported and recorded", max(0.0, rest)))
    return _drawn([each for each in spans if each[2] > 0])


def since_of(number: int, bead: Bead, attempts: Sequence[Attempt]) -> datetime:
    """When the attempt of that place in the list was owed: with the bead, or the one before it."""
    if number == 0:
        return bead.created_at
    before = attempts[number - 1]
    return before.finished_at or before.claimed_at


def _main(bead: Bead, attempts: Sequence[Attempt], trip: Trip, why: Why) -> Iterator[Hop]:
    yield Hop("Filed", bead.created_at, kind="good", more=_due(bead))
    last = bead.created_at
    for number, attempt in enumerate(attempts, 1):
        if _told_of(attempt, trip) and trip.dispatched_at:
            yield Hop(
                "On the broker", trip.dispatched_at, _seconds(last, trip.dispatched_at),
                "announced, and confirmed by it", "good",
            )  # fmt: skip
            last = max(last, trip.dispatched_at)
        yield Hop(
            f"Claimed by {attempt.agent_id}", attempt.claimed_at,
            _seconds(last, attempt.claimed_at), f"attempt {number}", "good",
        )  # fmt: skip
        yield from (_step(step) for step in attempt.steps)
        last = attempt.finished_at or attempt.claimed_at
        yield _ended(attempt)
    yield from _now(bead, attempts, trip, why, last)


def _now(
    bead: Bead, attempts: Sequence[Attempt], trip: Trip, why: Why, last: datetime
) -> Iterator[Hop]:
    if bead.state is State.CLOSED:
        kind = {Resolution.SUCCEEDED: "good", Resolution.FAILED: "bad"}
        resolution = bead.resolution or Resolution.CANCELLED
        yield Hop(
            f"Closed: {resolution.value}", bead.closed_at,
            _seconds(last, bead.closed_at) if bead.closed_at else None,
            f"{span(_seconds(bead.created_at, bead.closed_at))} after it was filed"
            if bead.closed_at
            else "",
            kind.get(resolution, ""),
        )  # fmt: skip
    elif bead.state is State.BLOCKED:
        yield Hop("Blocked", bead.updated_at, more=bead.reason, kind="warn")
    elif bead.state is State.OPEN:
        if trip.dispatched_epoch == bead.epoch + 1 and trip.dispatched_at:
            yield Hop(
                "On the broker", trip.dispatched_at, _seconds(last, trip.dispatched_at),
                "announced, and confirmed by it", "good",
            )  # fmt: skip
            last = max(last, trip.dispatched_at)
        said = why.reasons[0].sentence if why.reasons else ""
        name = "Waits for another attempt" if attempts else "Waits"
        yield Hop(name, last, more=said, kind="busy", running=True)


def _ended(attempt: Attempt) -> Hop:
    if attempt.outcome == "running":
        return Hop("Runs", attempt.claimed_at, kind="busy", running=True)
    kinds = {"succeeded": "good", "failed": "bad", "lost": "warn"}
    more = attempt.reason
    if attempt.failure_class:
        more = f"{attempt.failure_class.value}: {more}"
    at = attempt.finished_at
    return Hop(
        f"Attempt {attempt.outcome}", at, _seconds(attempt.claimed_at, at) if at else None, more,
        kinds.get(attempt.outcome, ""),
    )  # fmt: skip


def _step(step: Step) -> Hop:
    more = ""
    if step.tests is not None:
        more = f"{step.tests.passed} of {step.tests.total} tests passed"
        if step.tests.failed:
            more += f", {step.tests.failed} failed"
    elif step.findings:
        more = f"{len(step.findings)} findings"
    if step.passed:
        return Hop(step.name, took=step.duration_s, more=more, kind="good", minor=True)
    if not more and step.exit_code is not None:
        more = f"exit code {step.exit_code}"
    more += " (advisory)" if step.advisory else ""
    kind = "warn" if step.advisory else "bad"
    return Hop(step.name, took=step.duration_s, more=more, kind=kind, minor=True)


def _told_of(attempt: Attempt, trip: Trip) -> bool:
    return (
        trip.dispatched_epoch == attempt.epoch
        and trip.dispatched_at is not None
        and trip.dispatched_at <= attempt.claimed_at
    )


def _kind_of(step: Step) -> str:
    if not step.passed and not step.advisory:
        return "bad"
    return "good" if step.kind in WORK_KINDS else "work"


def _drawn(spans: Sequence[tuple[str, str, float]]) -> tuple[Part, ...]:
    all_ = sum(seconds for _, _, seconds in spans)
    if not all_:
        return ()
    widths = [max(LEAST, seconds / all_ * WHOLE) for _, _, seconds in spans]
    scale = WHOLE / sum(widths)
    parts: list[Part] = []
    x = 0.0
    for (kind, name, seconds), width in zip(spans, widths, strict=True):
        part = Part(round(x, 2), round(width * scale, 2), kind, name, seconds)
        parts.append(replace(part, width=max(0.5, part.width - 1.5)))
        x += width * scale
    return tuple(parts)


def _due(bead: Bead) -> str:
    return f"due at {bead.not_before:%Y-%m-%d %H:%M} UTC" if bead.not_before else ""


def _said(event: EventLine) -> str:
    words = [str(event.data[key]) for key in ("by", "detail", "reason") if event.data.get(key)]
    return ": ".join(words)


def _seconds(begin: datetime, end: datetime) -> float:
    return max(0.0, (end - begin).total_seconds())
