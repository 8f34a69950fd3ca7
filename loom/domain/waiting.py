"""Why a bead is not running, and what would make it run: decided on what the ledger holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from loom.domain.lifecycle import Resolution, State
from loom.domain.presence import Crew
from loom.domain.priority import effective_priority, waiting_since
from loom.domain.project import ProjectState

NOBODY = Crew()
NAMED = 5
"""How many blockers a sentence names."""


@dataclass(frozen=True, slots=True)
class Blocker:
    """A bead that has to succeed first. child: it names this one as its parent."""

    id: str
    state: State
    resolution: Resolution | None = None
    child: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What the ledger holds of a bead at one moment, by the database's clock.

    blockers: those that have not succeeded. owed: its task message waits in the outbox, from
    available_at on, leased if a dispatcher has it now. tries, last_error: of publishing it.
    sent_at: its message was confirmed by the broker and nobody has claimed it; sent tells that
    much of messages without a moment. in_progress, sent_of_project, leased_of_project: beads of
    its project. ahead: beads of its project that go before it in the ledger. agent, lease_left_s:
    of the attempt that runs. attempts: how many there were; max_attempts: the limit, 0: none.
    crew: the project's agents.
    """

    bead_id: str
    project_id: str
    state: State
    now: datetime
    created_at: datetime
    priority: int
    resolution: Resolution | None = None
    reason: str = ""
    not_before: datetime | None = None
    attempts: int = 0
    blockers: tuple[Blocker, ...] = ()
    project_state: ProjectState = ProjectState.ACTIVE
    cap: int = 0
    window: int = 0
    owed: bool = False
    leased: bool = False
    available_at: datetime | None = None
    tries: int = 0
    last_error: str = ""
    sent: bool = False
    sent_at: datetime | None = None
    in_progress: int = 0
    sent_of_project: int = 0
    leased_of_project: int = 0
    ahead: int = 0
    agent: str = ""
    lease_left_s: float = 0.0
    crew: Crew = NOBODY
    assignee: str = ""
    """Who has taken it by hand."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that keeps a bead from running, and what would take it away.

    code: stable, for programs; sentence and remedy: for a person.
    """

    code: str
    sentence: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Why:
    """All that keeps a bead from running, the first thing to deal with first; never empty.

    position: its place in its project's order, from 1; 0: it does not stand there.
    """

    bead_id: str
    state: State
    reasons: tuple[Reason, ...]
    effective_priority: float
    position: int = 0

    @property
    def code(self) -> str:
        """The code of what is to be dealt with first."""
        return self.reasons[0].code


def explain(facts: Facts) -> Why:
    """Why the bead is not running, and what would make it run."""
    waited_s = (facts.now - waiting_since(facts.created_at, facts.not_before)).total_seconds()
    return Why(
        bead_id=facts.bead_id,
        state=facts.state,
        reasons=tuple(_reasons(facts)),
        effective_priority=round(effective_priority(facts.priority, max(0.0, waited_s)), 3),
        position=facts.ahead + 1 if facts.owed and not (facts.blockers or facts.assignee) else 0,
    )


def _reasons(facts: Facts) -> Iterator[Reason]:
    if facts.state is not State.OPEN:
        yield _moved_on(facts)
        return
    held = list(_held(facts))
    yield from held
    if facts.sent and not facts.owed:
        yield _in_queue(facts, held=bool(held))
    elif not facts.owed:
        yield Reason(
            "unaccounted",
            "the ledger neither owes its message nor has sent it",
            "`loom reconcile --repair` owes it again",
        )
    elif not held:
        yield from _in_line(facts)


def _moved_on(facts: Facts) -> Reason:
    if facts.state is State.IN_PROGRESS:
        if facts.lease_left_s <= 0:
            return Reason(
                "lease_ran_out",
                f"{facts.agent or 'its agent'} let the lease run out",
                "the engine ends the attempt and owes another; `loom status` says whether it runs",
            )
        return Reason(
            "running",
            f"it is running: {facts.agent} works at it, under a lease for another "
            f"{facts.lease_left_s:.0f} s",
            "nothing is needed",
        )
    if facts.state is State.BLOCKED:
        return Reason(
            "blocked",
            f"it is blocked: {facts.reason}"
            + (f" ({facts.assignee} has taken it)" if facts.assignee else ""),
            f"mend the cause, then unblock it: `loom bead unblock {facts.bead_id}`",
        )
    ended = facts.resolution.value if facts.resolution else "closed"
    return Reason(
        ended,
        f"it has ended, {ended}" + (f": {facts.reason}" if facts.reason else ""),
        "a closed bead never runs again: file its work as a new bead",
    )


def _held(facts: Facts) -> Iterator[Reason]:
    """What keeps the bead in the ledger, however much room there is."""
    if facts.project_state is ProjectState.CLOSED:
        yield Reason(
            "project_closed",
            f"project {facts.project_id} is closed: nothing of it starts",
            f"`loom project reopen {facts.project_id}`, or give the bead up: `loom bead cancel "
            f"{facts.bead_id}`",
        )
    if facts.assignee:
        yield Reason(
            "assigned",
            f"{facts.assignee} has taken it by hand: no agent gets it",
            f"`loom bead release {facts.bead_id}` gives it to the agents again",
        )
    never = [b for b in facts.blockers if b.state is State.CLOSED]
    later = [b for b in facts.blockers if b.state is not State.CLOSED]
    if never:
        yield Reason(
            "blocker_did_not_succeed",
            f"it waits for {_names(never)}, which ended without success and never will succeed",
            "take it off what this one waits for: " + "; ".join(_takes_off(facts, never)),
        )
    if later:
        yield Reason(
            "waits_for_beads",
            f"it waits for {_names(later)} to succeed",
            f"it may start as soon as they have; `loom bead why {later[0].id}` says what that "
            "takes",
        )
    if facts.not_before and facts.not_before > facts.now:
        yield Reason(
            "not_due",
            f"it is not due before {facts.not_before.isoformat(timespec='seconds')}, in "
            f"{_span((facts.not_before - facts.now).total_seconds())}",
            f"wait, or `loom bead edit {facts.bead_id} --now`",
        )
    resume = f"`loom project resume {facts.project_id}`"
    if facts.project_state is ProjectState.PAUSED:
        yield Reason(
            "project_paused", f"project {facts.project_id} is paused: nothing starts", resume
        )
    if facts.project_state is ProjectState.DRAINING and not facts.attempts:
        yield Reason(
            "project_draining",
            f"project {facts.project_id} is draining: only beads that were begun go on, and no "
            "agent has begun this one",
            resume,
        )
    if facts.cap and facts.in_progress >= facts.cap:
        yield Reason(
            "cap_reached",
            f"project {facts.project_id} has {facts.in_progress} beads in progress and may have "
            f"{facts.cap} at once",
            "it may start when one of them ends, or raise the cap: "
            f"`loom project set {facts.project_id} --max-in-progress N`",
        )


def _in_line(facts: Facts) -> Iterator[Reason]:
    """What keeps the bead in the ledger for a while."""
    if facts.leased:
        yield Reason(
            "being_sent",
            "a dispatcher has its message in hand",
            "nothing is needed: if that dispatcher is gone, another gets it in some seconds",
        )
    elif facts.available_at and facts.available_at > facts.now:
        left = _span((facts.available_at - facts.now).total_seconds())
        if facts.last_error:
            yield Reason(
                "not_published",
                f"its message could not be published {facts.tries} times, the last time: "
                f"{facts.last_error}",
                f"the dispatcher tries again in {left}; `loom doctor` looks at the broker",
            )
        else:
            yield Reason(
                "retry_delay",
                f"its attempt {facts.attempts} ended without an answer; the next is put off",
                f"nothing is needed: it may start in {left}",
            )
    elif facts.sent_of_project + facts.leased_of_project >= facts.window:
        # The window stays full for as long as nobody takes from the queue.
        yield from _no_crew(facts, "its project's queue is full")
        yield Reason(
            "window_full",
            f"{facts.sent_of_project + facts.leased_of_project} beads of project "
            f"{facts.project_id} stand in its queue, and more are not sent there at once; "
            f"{_count(facts.ahead, 'bead')} of it go before this one",
            "its agents have to take some: add agents, or give this bead a lower number as "
            f"priority with `loom bead edit {facts.bead_id} --priority 0`",
        )
    elif facts.cap and facts.in_progress + facts.sent_of_project + facts.leased_of_project >= (
        facts.cap
    ):
        yield Reason(
            "cap_reached",
            f"project {facts.project_id} may have {facts.cap} beads in progress at once, and as "
            f"many run or were sent; {_count(facts.ahead, 'bead')} of it go before this one",
            "it may start when one of them ends, or raise the cap: "
            f"`loom project set {facts.project_id} --max-in-progress N`",
        )
    else:
        yield Reason(
            "in_line",
            f"it is next to be sent, after {_count(facts.ahead, 'bead')} of its project",
            "a dispatcher sends it in a moment; `loom status` says whether one runs",
        )


def _in_queue(facts: Facts, *, held: bool) -> Reason:
    since = (facts.now - facts.sent_at).total_seconds() if facts.sent_at else 0.0
    queue = f"its message stands in the queue of {facts.project_id}"
    queue += f" for {_span(since)}" if facts.sent_at else ""
    if held:
        return Reason(
            "in_queue", queue, "the agent that takes it gives it back, and it waits in the ledger"
        )
    for reason in _no_crew(facts, queue):
        return reason
    if not facts.crew.free and facts.crew.living:
        return Reason(
            "agents_busy",
            f"{queue}: every agent of the project is busy "
            f"({_count(facts.crew.living - facts.crew.draining, 'agent')}, with "
            f"{_count(facts.in_progress, 'bead')} in progress), and "
            f"{_count(facts.sent_of_project, 'message')} wait there",
            "the first that is free takes it; another agent is quicker: "
            f"`loom agent start {facts.project_id}`",
        )
    return Reason(
        "in_queue",
        f"{queue}: {_count(facts.in_progress, 'bead')} of the project "
        f"{'is' if facts.in_progress == 1 else 'are'} in progress, and "
        f"{_count(facts.sent_of_project, 'message')} wait there for an agent",
        "an agent that is free takes it: add agents to be quicker",
    )


def _no_crew(facts: Facts, where: str) -> Iterator[Reason]:
    """That nobody takes from the project's queue, if so."""
    crew, project_id = facts.crew, facts.project_id
    # Where beads are in progress somebody works, even if it does not say so.
    if not crew.living and (crew.lost or not facts.in_progress):
        heard = f"; {crew.lost} was last heard of {_span(crew.lost_s)} ago" if crew.lost else ""
        yield Reason(
            "no_agent",
            f"{where}, and no agent works for the project{heard}",
            f"`loom agent start {project_id}` starts one; `loom status` says what keeps one that "
            "should run; `loom reconcile` says whether the broker has the message",
        )
    elif crew.living and crew.living == crew.draining:
        yield Reason(
            "agents_draining",
            f"{where}, and {_each(crew.draining)} of the project drains: it finishes what it runs "
            "and takes nothing more",
            f"`loom agent list --project {project_id}`, then `loom agent resume NAME`; or start "
            f"another: `loom agent start {project_id}`",
        )


def _each(agents: int) -> str:
    return "the only agent" if agents == 1 else f"each of the {agents} agents"


def _takes_off(facts: Facts, blockers: list[Blocker]) -> Iterator[str]:
    if any(not blocker.child for blocker in blockers):
        words = " ".join(f"--not-blocked-by {b.id}" for b in blockers[:NAMED] if not b.child)
        yield f"`loom bead edit {facts.bead_id} {words}`"
    for blocker in blockers[:NAMED]:
        if blocker.child:
            yield f"`loom bead edit {blocker.id} --no-parent`"


def _names(blockers: list[Blocker]) -> str:
    words = [
        f"{b.id} ({'its child, ' if b.child else ''}"
        f"{b.resolution.value if b.resolution else b.state.value})"
        for b in blockers[:NAMED]
    ]
    more = len(blockers) - NAMED
    return ", ".join(words) + (f" and {more} more" if more > 0 else "")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _span(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
