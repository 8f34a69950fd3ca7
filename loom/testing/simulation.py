"""The trip of beads under a virtual clock, with every fault that a seed brings; no I/O, no time.

The ledger's decisions, the dispatcher, the ingester and the reconciler are the real ones; the
broker, the agents and the repository are simulated. One generator makes every choice, so that one
seed gives one run. An accountant watches what is answered and pushed, and trusts no table.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any

from structlog.testing import capture_logs

from loom.clients.database import Recorded
from loom.dispatcher.dispatcher import Dispatcher
from loom.domain.bead import Bead, NewBead
from loom.domain.evidence import Commit, FailureClass, Outcome, Step
from loom.domain.lifecycle import State
from loom.domain.outbox import Claim, ClaimVerdict, ResultVerdict
from loom.domain.project import Project
from loom.engine.reconciler import Reconciler
from loom.errors import Stale, Unavailable
from loom.ingester.burial import Undertaker
from loom.ingester.letters import Letters
from loom.ingester.results import Results
from loom.messaging import result, task
from loom.messaging.envelope import Delivery
from loom.messaging.result import ResultMessage
from loom.messaging.topology import (
    CORE,
    DEAD_LEDGER_QUEUE,
    DELIVERY_LIMIT,
    RESULTS_QUEUE,
    of_project,
    queues_of,
    task_key,
)
from loom.testing.ledger import FakeLedger
from loom.testing.simulated_broker import SimulatedBroker

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PROJECT = "simulated"
MAX_ATTEMPTS = DELIVERY_LIMIT + 10
"""More attempts than this at one bead are an endless loop."""
QUIET_ROUNDS = 400
ROUND_S = 10.0


@dataclass(frozen=True, slots=True)
class Faults:
    """How likely each fault is at each chance for it."""

    crash: float = 0.04
    pause: float = 0.05
    lose: float = 0.02
    duplicate: float = 0.04
    cut: float = 0.03
    away: float = 0.02


@dataclass(frozen=True, slots=True)
class Guards:
    """What keeps faults from doing harm; each can be taken away, to see that its lack is noticed.

    fence: a result of an older epoch changes nothing. inbox: a message is applied once.
    redelivery: only a message that was delivered before takes a bead over. branch: a branch is made
    and never moved. reconciler: what the broker lost is owed again.
    """

    fence: bool = True
    inbox: bool = True
    redelivery: bool = True
    branch: bool = True
    reconciler: bool = True


class Crash(BaseException):
    """A simulated process ends here; nothing in it gets to clean up."""


@dataclass(slots=True)
class Accountant:
    """What was seen of each bead from outside of the ledger, and what of it may not be."""

    violations: list[str] = field(default_factory=list)
    epochs: dict[str, int] = field(default_factory=dict)
    applied: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    moves: Counter[str] = field(default_factory=Counter)

    def claimed(self, bead: Bead | None, claim: Claim, *, redelivered: bool, running: bool) -> None:
        """A claim was answered. running: an attempt was under way before."""
        if claim.verdict is not ClaimVerdict.GRANTED or bead is None:
            return
        if claim.epoch <= self.epochs.get(bead.id, 0):
            self.violations.append(f"{bead.id}: epoch {claim.epoch} was granted twice or later")
        self.epochs[bead.id] = claim.epoch
        if running and not redelivered:
            self.violations.append(f"{bead.id}: taken over by a message that came the first time")

    def recorded(self, message: ResultMessage, answer: Recorded, epoch: int) -> None:
        """A result was answered. epoch: the bead's, before."""
        if answer.verdict is not ResultVerdict.APPLIED:
            return
        self.applied[message.message_id] += 1
        if self.applied[message.message_id] > 1:
            self.violations.append(f"{message.bead_id}: one message was applied twice")
        if message.epoch != epoch:
            self.violations.append(
                f"{message.bead_id}: a result of epoch {message.epoch} was applied at {epoch}"
            )
        if message.type == "task.completed":
            self.accepted[message.bead_id] += 1
            if self.accepted[message.bead_id] > 1:
                self.violations.append(f"{message.bead_id}: two results were accepted")


class WatchedLedger(FakeLedger):
    """FakeLedger under the accountant's eyes, without the guards that were taken away."""

    def __init__(self, accountant: Accountant, guards: Guards, random: Random) -> None:
        super().__init__(jitter=random.random, now=BEGIN)
        self._accountant, self._guards = accountant, guards

    def claim_bead(
        self, bead_id: str, epoch: int, agent_id: str, *, redelivered: bool = False,
        request_id: str = "",
    ) -> Claim:  # fmt: skip
        """As FakeLedger."""
        running = self.get_bead(bead_id).state is State.IN_PROGRESS
        claim = super().claim_bead(
            bead_id, epoch, agent_id, request_id=request_id,
            redelivered=redelivered or not self._guards.redelivery,
        )  # fmt: skip
        self._accountant.claimed(claim.bead, claim, redelivered=redelivered, running=running)
        return claim

    def record_results(self, results: Sequence[tuple[ResultMessage, str]]) -> tuple[Recorded, ...]:
        """As FakeLedger."""
        epochs = [self.get_bead(message.bead_id).epoch for message, _ in results]
        said = [(m if self._guards.fence else self._unfenced(m), trace) for m, trace in results]
        if not self._guards.inbox:
            self._tables.inbox.clear()
        answers = super().record_results(said)
        for (message, _), answer, epoch in zip(results, answers, epochs, strict=True):
            self._accountant.recorded(message, answer, epoch)
        return answers

    def _unfenced(self, message: ResultMessage) -> ResultMessage:
        """The result as if it came from the attempt that runs."""
        running = self._standing(message.bead_id).running
        if running is None:
            return message
        return message.model_copy(update={"epoch": running.epoch, "agent_id": running.agent_id})


@dataclass(slots=True)
class Repository:
    """Branches and their commits; a commit is named after the parent it stands on."""

    accountant: Accountant
    guarded: bool
    head: int = 0
    branches: dict[str, str] = field(default_factory=dict)

    def parent(self, bead_id: str) -> int:
        """Where an attempt begins: where pushed work of the bead began, else at the head."""
        pushed = self.branches.get(bead_id)
        return int(pushed.rpartition("@")[2]) if pushed else self.head

    def push(self, bead_id: str, commit: str) -> bool:
        """Make the branch, or find this commit there; False: another one is there."""
        there = self.branches.get(bead_id)
        if there == commit:
            return True
        if there is not None and self.guarded:
            return False
        self.branches[bead_id] = commit
        self.accountant.moves[bead_id] += 1
        if self.accountant.moves[bead_id] > 1:
            self.accountant.violations.append(f"{bead_id}: its branch moved twice")
        return True


class Seam:
    """The part of a process that others see: each call through it may be its last."""

    def __init__(self, target: Any, crash: Callable[[str], None]) -> None:
        self._target, self._crash = target, crash

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self._target, name)

        def through(*given: Any, **named: Any) -> Any:
            self._crash(f"before {name}")
            answer = call(*given, **named)
            self._crash(f"after {name}")
            return answer

        return through


@dataclass(slots=True)
class Batch:
    """Deliveries that an ingester took, and its way to acknowledge them."""

    deliveries: Sequence[Delivery]
    acknowledge: Callable[[int], None]

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """They are dealt with."""
        for delivery in deliveries:
            self.acknowledge(delivery.tag)


@dataclass(slots=True)
class Agent:
    """An agent: its steps, and until when it is paused. life: grows with each restart."""

    name: str
    steps: Iterator[str]
    paused_until: float = 0.0
    life: int = 1


class Simulation:
    """One run: `run` it once, then read violations, trace and crashes."""

    def __init__(
        self, seed: int, *, beads: int = 8, steps: int = 400, faults: Faults | None = None,
        guards: Guards | None = None,
    ) -> None:  # fmt: skip
        self._random = Random(seed)  # noqa: S311 - a seed's own choices, no secret
        self._beads, self._steps = beads, steps
        self._faults = faults or Faults()
        self._guards = guards or Guards()
        self._clock = 0.0
        self._numbers = Counter[str]()
        self._stopping = threading.Event()
        self._faulty = True
        self.trace: list[str] = []
        self.crashes: Counter[str] = Counter()
        self.accountant = Accountant()
        self.broker = SimulatedBroker(self._random)
        self.ledger = WatchedLedger(self.accountant, self._guards, self._random)
        self.repository = Repository(self.accountant, self._guards.branch)
        self._reconciler = Reconciler(
            self.ledger, self.broker.depths, self.broker.publish, grace_s=60.0, repair=True
        )
        self._dispatchers = [self._dispatcher(name) for name in ("dispatcher-1", "dispatcher-2")]
        self._agents = [Agent(name, iter(())) for name in ("agent-1", "agent-2", "agent-3")]
        for agent in self._agents:
            agent.steps = self._work(agent)

    @property
    def violations(self) -> list[str]:
        """What the accountant found wrong; it must be empty."""
        return self.accountant.violations

    def run(self) -> Simulation:
        """Faults for so many steps, then none until all is quiet; then the books are closed."""
        with capture_logs():
            self.broker.fake.declare([CORE, of_project(PROJECT)])
            self.ledger.create_project(Project(PROJECT, "/srv/s.git", queue_window=5), "corr")
            for _ in range(self._steps):
                self._step()
            self._heal()
            for _ in range(QUIET_ROUNDS):
                if self._round():
                    break
            self._close_the_books()
        return self

    # What happens.

    def _step(self) -> None:
        chance, faults = self._random.random, self._faults
        moves: list[Callable[[], object]] = [
            self._file, self._dispatch, self._dispatch, self._ingest, self._bury, self._expire,
            self._pass_time, self._reconcile, self._move_head,
            *(partial(self._advance, agent) for agent in self._agents * 4),
        ]  # fmt: skip
        self._random.choice(moves)()
        queue = self._random.choice((task_key(PROJECT), RESULTS_QUEUE))
        if chance() < faults.lose and self.broker.lose(queue):
            self._say("broker", f"loses a message of {queue}")
        if chance() < faults.duplicate and self.broker.duplicate(queue):
            self._say("broker", f"doubles a message of {queue}")
        if chance() < faults.away:
            self.broker.fake.away = not self.broker.fake.away
            self._say("broker", "away" if self.broker.fake.away else "back")
        if chance() < faults.away:
            self.broker.fake.lose_after = self._random.randrange(3)

    def _heal(self) -> None:
        self._faulty = False
        self._faults = Faults(0, 0, 0, 0, 0, 0)
        self.broker.fake.away, self.broker.fake.lose_after = False, None
        self.broker.reorder = False
        while self._numbers["bead"] < self._beads:
            self._file()
        self._say("world", "healed")

    def _round(self) -> bool:
        """Everybody does what there is to do, and time passes; True when all is quiet."""
        self._dispatch()
        for agent in self._agents:
            agent.paused_until = 0.0
            while self._advance(agent) not in ("idle", "held"):
                pass
        self._ingest()
        self._bury()
        self._expire()
        self._reconcile()
        self._pass_time(ROUND_S)
        return not self._unsettled()

    def _file(self) -> None:
        if self._numbers["bead"] < self._beads:
            bead = f"bead-{self._number('bead')}"
            self.ledger.create_beads(PROJECT, [NewBead("work", bead)], "corr")
            self._say("control", f"files {bead}")

    def _dispatcher(self, name: str) -> tuple[str, Seam, Dispatcher]:
        owner = f"{name}-{self._number(name)}"
        crash = self._crasher(name.partition("-")[0])
        ledger, broker = Seam(self.ledger, crash), Seam(self.broker, crash)
        made = Dispatcher(
            ledger, broker.publish, self.broker.fake.declare, owner=owner, timeout_s=1.0
        )  # fmt: skip
        return owner, ledger, made

    def _dispatch(self) -> None:
        index = self._random.randrange(len(self._dispatchers))
        owner, ledger, dispatcher = self._dispatchers[index]
        try:
            rows = ledger.lease_outbox(owner, self._random.randint(1, 10))
            if rows:
                dispatcher.dispatch(rows, self._stopping)
                self._say(owner, f"dispatched {[row.bead_id for row in rows if row.attempt]}")
        except Crash as crash:
            self._say(owner, f"crashed {crash}")
            self._dispatchers[index] = self._dispatcher(f"dispatcher-{index + 1}")

    def _ingest(self) -> None:
        undertaker = Undertaker(self.broker.publish, lambda: None, 1.0)
        self._consume("ingester", RESULTS_QUEUE, lambda ledger: Results(ledger, undertaker).handle)

    def _bury(self) -> None:
        self._consume("ingester", DEAD_LEDGER_QUEUE, lambda ledger: Letters(ledger).handle)

    def _consume(self, name: str, queue: str, handler: Callable[[Any], Any]) -> None:
        if self.broker.fake.away:
            return
        taken = [self.broker.deliver(queue, name) for _ in range(self._random.randint(1, 5))]
        deliveries = [delivery for delivery in taken if delivery is not None]
        crash = self._crasher(name)

        def ack(tag: int) -> None:
            crash("before ack")
            self.broker.ack(name, tag)

        try:
            handler(Seam(self.ledger, crash))(Batch(deliveries, ack), self._stopping)
        except Crash as ended:
            self._say(name, f"crashed {ended}")
        finally:
            self.broker.drop(name)
        if deliveries:
            self._say(name, f"took {len(deliveries)} of {queue}")

    def _expire(self) -> None:
        lost, retried, blocked = self.ledger.expire_leases()
        if lost:
            self._say("engine", f"ended {lost} leases: {retried} owed, {blocked} blocked")

    def _reconcile(self) -> None:
        if self._guards.reconciler and not self.broker.fake.away:
            before = self._owed()
            self._reconciler.look()
            if self._owed() > before:
                self._say("engine", f"owes {self._owed() - before} again")

    def _owed(self) -> int:
        return self.ledger.reconcile([]).accounts[0].held.owed

    def _pass_time(self, seconds: float = 0.0) -> None:
        seconds = seconds or self._random.choice((0.1, 1.0, 5.0, 20.0))
        self._clock += seconds
        self.ledger.advance(seconds)

    def _move_head(self) -> None:
        self.repository.head += 1

    # What an agent does.

    def _advance(self, agent: Agent) -> str:
        """One step of the agent, unless it is paused; it may crash after any, or lose its
        connection without noticing."""
        if agent.paused_until > self._clock:
            return "paused"
        said = next(agent.steps)
        if said != "idle":
            self._say(agent.name, said)
        if self._random.random() < self._faults.crash:
            self.crashes[f"agent after {said.partition(' ')[0]}"] += 1
            self._say(agent.name, "crashed")
            self.broker.drop(agent.name)
            agent.life += 1
            agent.steps = self._work(agent)
        elif self._random.random() < self._faults.cut:
            self.broker.drop(agent.name)
            self._say(agent.name, "lost its connection")
        elif self._random.random() < self._faults.pause:
            agent.paused_until = self._clock + self._random.choice((5.0, 40.0, 100.0))
            self._say(agent.name, "is paused")
        return said

    def _work(self, agent: Agent) -> Iterator[str]:
        me = f"{agent.name}.{agent.life}"
        while True:
            delivery = self.broker.deliver(task_key(PROJECT), agent.name)
            if delivery is None:
                yield "idle"
                continue
            asked = task.read(delivery.headers, delivery.body)
            yield f"delivered {asked.message.bead_id} epoch {asked.epoch}"
            claim = self.ledger.claim_bead(
                asked.message.bead_id, asked.epoch, me, redelivered=delivery.redelivered,
                request_id=f"{me}-{self._number('request')}",
            )  # fmt: skip
            yield f"claimed {asked.message.bead_id}: {claim.verdict.value} {claim.epoch}"
            if claim.bead is not None:
                yield from self._attempt(me, claim.bead, claim.epoch)
            self.broker.ack(agent.name, delivery.tag)
            yield "acked"

    def _attempt(self, me: str, bead: Bead, epoch: int) -> Iterator[str]:
        parent = self.repository.parent(bead.id)
        for _ in range(self._random.randint(0, 3)):
            yield "working"
            if not self._renewed(bead, epoch, me):
                yield "lease-lost"
                return
            yield from self._report(me, bead, epoch, Outcome(succeeded=False), progress=True)
        outcome = self._outcome(bead, parent)
        if outcome.succeeded:
            if not self._renewed(bead, epoch, me):
                yield "lease-lost"
                return
            yield "fenced"
            if not self.repository.push(bead.id, outcome.commits[0].sha):
                outcome = _failed(FailureClass.WORK, "the branch is there already")
            yield "pushed"
        yield from self._report(me, bead, epoch, outcome)

    def _renewed(self, bead: Bead, epoch: int, me: str) -> bool:
        try:
            self.ledger.renew_lease(bead.id, epoch, me)
        except Stale:
            return False
        return True

    def _outcome(self, bead: Bead, parent: int) -> Outcome:
        chance = self._random.random()
        if self._faulty and chance < 0.1:
            return _failed(FailureClass.INFRA, "no clone")
        if chance < 0.15:
            return _failed(FailureClass.WORK, "the tests fail")
        step = Step("test", ("true",), 0, 1.0)
        commit = Commit(f"{bead.id}@{parent}", f"agent/{bead.id}")
        return Outcome(succeeded=True, steps=(step,), commits=(commit,))

    def _report(
        self, me: str, bead: Bead, epoch: int, outcome: Outcome, *, progress: bool = False
    ) -> Iterator[str]:
        message = result.report(
            outcome, message_id=f"message-{self._number('message')}", project_id=PROJECT,
            bead_id=bead.id, agent_id=me, epoch=epoch, correlation_id="corr", timestamp=BEGIN,
        )  # fmt: skip
        if progress:
            message = message.model_copy(update={"type": "task.progress"})
        while not self._confirmed(message):
            yield "held"
        yield "told" if progress else f"reported {bead.id} epoch {epoch}"

    def _confirmed(self, message: ResultMessage) -> bool:
        try:
            (published,) = self.broker.publish([result.to_envelope(message)], 1.0)
        except Unavailable:
            return False
        return published.confirmed

    # What is written down.

    def _crasher(self, process: str) -> Callable[[str], None]:
        def crash(where: str) -> None:
            if self._random.random() < self._faults.crash:
                self.crashes[f"{process} {where}"] += 1
                raise Crash(where)

        return crash

    def _number(self, kind: str) -> int:
        self._numbers[kind] += 1
        return self._numbers[kind]

    def _say(self, who: str, what: str) -> None:
        self.trace.append(f"{self._clock:.1f} {who}: {what}")

    def _unsettled(self) -> list[str]:
        """Beads and messages that are not at their end."""
        beads = self.ledger.list_beads(page_size=500).items
        left = [
            f"{bead.id} is {bead.state.value} at epoch {bead.epoch}"
            for bead in beads
            if bead.state not in (State.CLOSED, State.BLOCKED)
        ]
        queues = [task_key(PROJECT), RESULTS_QUEUE, DEAD_LEDGER_QUEUE]
        for depth in self.broker.depths(queues):
            if depth.ready or depth.unacked:
                left.append(f"{depth.queue} holds {depth.ready} and {depth.unacked}")
        return left + ["the outbox owes tasks"] * bool(self._owed())

    def _close_the_books(self) -> None:
        found = self.accountant.violations
        found += self._unsettled()
        done = self.ledger.reconcile(self.broker.depths(queues_of([PROJECT])), grace_s=0)
        if done.unaccounted:
            found.append(f"{done.unaccounted} are unaccounted for")
        closed = Counter(e.bead_id for e in self.ledger.events if e.type == "bead.closed")
        for bead in self.ledger.list_beads(page_size=500).items:
            attempts = self.ledger.list_attempts(bead.id)
            if closed[bead.id] != (bead.state is State.CLOSED):
                found.append(f"{bead.id}: {closed[bead.id]} ends, and it is {bead.state.value}")
            if bead.state is State.BLOCKED and not bead.reason:
                found.append(f"{bead.id}: blocked without a reason")
            if len(attempts) > MAX_ATTEMPTS:
                found.append(f"{bead.id}: {len(attempts)} attempts")
            if bead.commits and self.repository.branches.get(bead.id) != bead.commits[0].sha:
                found.append(f"{bead.id}: its commit is not on its branch")
            self._say("book", f"{bead.id} {bead.state.value} {bead.resolution} {len(attempts)}")
        if len(closed) > self._beads or self._numbers["bead"] != self._beads:
            found.append("the number of beads is not the number filed")


def _failed(failure_class: FailureClass, reason: str) -> Outcome:
    return Outcome(succeeded=False, failure_class=failure_class, reason=reason)
