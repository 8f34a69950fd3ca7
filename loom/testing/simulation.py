"""The trip of beads under a virtual clock, with every fault that a seed brings; no I/O, no time.

The ledger's decisions, the dispatcher, the ingester and the reconciler are the real ones; the
broker, the agents and the repository are simulated. One generator makes every choice, so that one
seed gives one run. An accountant watches what is answered and pushed, and trusts no table.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any

from structlog.testing import capture_logs

from loom.dispatcher.dispatcher import Dispatcher
from loom.domain.bead import NewBead
from loom.domain.lifecycle import State
from loom.domain.project import Project
from loom.engine.reconciler import Reconciler
from loom.ingester.burial import Undertaker
from loom.ingester.letters import Letters
from loom.ingester.results import Results
from loom.messaging.envelope import Delivery
from loom.messaging.topology import (
    CORE,
    DEAD_LEDGER_QUEUE,
    DELIVERY_LIMIT,
    RESULTS_QUEUE,
    of_project,
    queues_of,
    task_key,
)
from loom.testing.simulated_agents import Agents
from loom.testing.simulated_broker import SimulatedBroker
from loom.testing.simulated_faults import Crash, Faults, Guards, Seam
from loom.testing.simulated_repository import Repository
from loom.testing.simulated_world import World
from loom.testing.watched_ledger import Accountant, WatchedLedger

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
PROJECT = "simulated"
MAX_ATTEMPTS = DELIVERY_LIMIT + 10
"""More attempts than this at one bead are an endless loop."""
QUIET_ROUNDS = 400
ROUND_S = 10.0


@dataclass(slots=True)
class Batch:
    """Deliveries that an ingester took, and its way to acknowledge them."""

    deliveries: Sequence[Delivery]
    acknowledge: Callable[[int], None]

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """They are dealt with."""
        for delivery in deliveries:
            self.acknowledge(delivery.tag)


class Simulation:
    """One run: `run` it once, then read violations, trace and crashes."""

    def __init__(
        self, seed: int, *, beads: int = 8, steps: int = 400, faults: Faults | None = None,
        guards: Guards | None = None,
    ) -> None:  # fmt: skip
        random = Random(seed)  # noqa: S311 - a seed's own choices, no secret
        self._beads, self._steps = beads, steps
        self._guards = guards or Guards()
        self._stopping = threading.Event()
        self.accountant = Accountant()
        self.world = World(
            random,
            faults or Faults(),
            SimulatedBroker(random),
            WatchedLedger(self.accountant, self._guards, random, BEGIN),
            Repository(self.accountant, self._guards.branch),
        )
        self._reconciler = Reconciler(
            self.world.ledger,
            self.world.broker.depths,
            self.world.broker.publish,
            grace_s=60.0,
            repair=True,
        )
        self._dispatchers = [self._dispatcher(name) for name in ("dispatcher-1", "dispatcher-2")]
        self._agents = Agents(self.world, PROJECT, BEGIN)

    @property
    def trace(self) -> list[str]:
        """What happened, a line each."""
        return self.world.trace

    @property
    def crashes(self) -> Counter[str]:
        """How often which process crashed where."""
        return self.world.crashes

    @property
    def violations(self) -> list[str]:
        """What the accountant found wrong; it must be empty."""
        return self.accountant.violations

    def run(self) -> Simulation:
        """Faults for so many steps, then none until all is quiet; then the books are closed."""
        with capture_logs():
            self.world.broker.fake.declare([CORE, of_project(PROJECT)])
            self.world.ledger.create_project(Project(PROJECT, "/srv/s.git", queue_window=5), "corr")
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
        chance, faults = self.world.random.random, self.world.faults
        moves: list[Callable[[], object]] = [
            self._file, self._dispatch, self._dispatch, self._ingest, self._bury, self._expire,
            self._pass_time, self._reconcile, self._move_head,
            *(partial(self._agents.advance, agent) for agent in self._agents.all * 4),
        ]  # fmt: skip
        self.world.random.choice(moves)()
        queue = self.world.random.choice((task_key(PROJECT), RESULTS_QUEUE))
        if chance() < faults.lose and self.world.broker.lose(queue):
            self.world.say("broker", f"loses a message of {queue}")
        if chance() < faults.duplicate and self.world.broker.duplicate(queue):
            self.world.say("broker", f"doubles a message of {queue}")
        if chance() < faults.away:
            self.world.broker.fake.away = not self.world.broker.fake.away
            self.world.say("broker", "away" if self.world.broker.fake.away else "back")
        if chance() < faults.away:
            self.world.broker.fake.lose_after = self.world.random.randrange(3)

    def _heal(self) -> None:
        self.world.faulty = False
        self.world.faults = Faults(0, 0, 0, 0, 0, 0)
        self.world.broker.fake.away, self.world.broker.fake.lose_after = False, None
        self.world.broker.reorder = False
        while self.world.numbers["bead"] < self._beads:
            self._file()
        self.world.say("world", "healed")

    def _round(self) -> bool:
        """Everybody does what there is to do, and time passes; True when all is quiet."""
        self._dispatch()
        for agent in self._agents.all:
            agent.paused_until = 0.0
            while self._agents.advance(agent) not in ("idle", "held"):
                pass
        self._ingest()
        self._bury()
        self._expire()
        self._reconcile()
        self._pass_time(ROUND_S)
        return not self._unsettled()

    def _file(self) -> None:
        if self.world.numbers["bead"] < self._beads:
            bead = f"bead-{self.world.number('bead')}"
            self.world.ledger.create_beads(PROJECT, [NewBead("work", bead)], "corr")
            self.world.say("control", f"files {bead}")

    def _dispatcher(self, name: str) -> tuple[str, Seam, Dispatcher]:
        owner = f"{name}-{self.world.number(name)}"
        crash = self.world.crasher(name.partition("-")[0])
        ledger, broker = Seam(self.world.ledger, crash), Seam(self.world.broker, crash)
        made = Dispatcher(
            ledger, broker.publish, self.world.broker.fake.declare, owner=owner, timeout_s=1.0
        )  # fmt: skip
        return owner, ledger, made

    def _dispatch(self) -> None:
        index = self.world.random.randrange(len(self._dispatchers))
        owner, ledger, dispatcher = self._dispatchers[index]
        try:
            rows = ledger.lease_outbox(owner, self.world.random.randint(1, 10))
            if rows:
                dispatcher.dispatch(rows, self._stopping)
                self.world.say(owner, f"dispatched {[row.bead_id for row in rows if row.attempt]}")
        except Crash as crash:
            self.world.say(owner, f"crashed {crash}")
            self._dispatchers[index] = self._dispatcher(f"dispatcher-{index + 1}")

    def _ingest(self) -> None:
        undertaker = Undertaker(self.world.broker.publish, lambda: None, 1.0)
        self._consume("ingester", RESULTS_QUEUE, lambda ledger: Results(ledger, undertaker).handle)

    def _bury(self) -> None:
        self._consume("ingester", DEAD_LEDGER_QUEUE, lambda ledger: Letters(ledger).handle)

    def _consume(self, name: str, queue: str, handler: Callable[[Any], Any]) -> None:
        if self.world.broker.fake.away:
            return
        taken = [
            self.world.broker.deliver(queue, name) for _ in range(self.world.random.randint(1, 5))
        ]
        deliveries = [delivery for delivery in taken if delivery is not None]
        crash = self.world.crasher(name)

        def ack(tag: int) -> None:
            crash("before ack")
            self.world.broker.ack(name, tag)

        try:
            handler(Seam(self.world.ledger, crash))(Batch(deliveries, ack), self._stopping)
        except Crash as ended:
            self.world.say(name, f"crashed {ended}")
        finally:
            self.world.broker.drop(name)
        if deliveries:
            self.world.say(name, f"took {len(deliveries)} of {queue}")

    def _expire(self) -> None:
        lost, retried, blocked = self.world.ledger.expire_leases()
        if lost:
            self.world.say("engine", f"ended {lost} leases: {retried} owed, {blocked} blocked")

    def _reconcile(self) -> None:
        if self._guards.reconciler and not self.world.broker.fake.away:
            before = self._owed()
            self._reconciler.look()
            if self._owed() > before:
                self.world.say("engine", f"owes {self._owed() - before} again")

    def _owed(self) -> int:
        return self.world.ledger.reconcile([]).accounts[0].held.owed

    def _pass_time(self, seconds: float = 0.0) -> None:
        seconds = seconds or self.world.random.choice((0.1, 1.0, 5.0, 20.0))
        self.world.clock += seconds
        self.world.ledger.advance(seconds)

    def _move_head(self) -> None:
        self.world.repository.head += 1

    # What is written down.

    def _unsettled(self) -> list[str]:
        """Beads and messages that are not at their end."""
        beads = self.world.ledger.list_beads(page_size=500).items
        left = [
            f"{bead.id} is {bead.state.value} at epoch {bead.epoch}"
            for bead in beads
            if bead.state not in (State.CLOSED, State.BLOCKED)
        ]
        queues = [task_key(PROJECT), RESULTS_QUEUE, DEAD_LEDGER_QUEUE]
        for depth in self.world.broker.depths(queues):
            if depth.ready or depth.unacked:
                left.append(f"{depth.queue} holds {depth.ready} and {depth.unacked}")
        return left + ["the outbox owes tasks"] * bool(self._owed())

    def _close_the_books(self) -> None:
        found = self.accountant.violations
        found += self._unsettled()
        done = self.world.ledger.reconcile(
            self.world.broker.depths(queues_of([PROJECT])), grace_s=0
        )
        if done.unaccounted:
            found.append(f"{done.unaccounted} are unaccounted for")
        closed = Counter(e.bead_id for e in self.world.ledger.events if e.type == "bead.closed")
        for bead in self.world.ledger.list_beads(page_size=500).items:
            attempts = self.world.ledger.list_attempts(bead.id)
            if closed[bead.id] != (bead.state is State.CLOSED):
                found.append(f"{bead.id}: {closed[bead.id]} ends, and it is {bead.state.value}")
            if bead.state is State.BLOCKED and not bead.reason:
                found.append(f"{bead.id}: blocked without a reason")
            if len(attempts) > MAX_ATTEMPTS:
                found.append(f"{bead.id}: {len(attempts)} attempts")
            if bead.commits and self.world.repository.branches.get(bead.id) != bead.commits[0].sha:
                found.append(f"{bead.id}: its commit is not on its branch")
            self.world.say(
                "book", f"{bead.id} {bead.state.value} {bead.resolution} {len(attempts)}"
            )
        if len(closed) > self._beads or self.world.numbers["bead"] != self._beads:
            found.append("the number of beads is not the number filed")
