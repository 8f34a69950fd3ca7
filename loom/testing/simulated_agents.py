"""The agents of a simulation: they claim, work, renew, push and report, and crash at any step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from loom.domain.bead import Bead
from loom.domain.evidence import Commit, FailureClass, Outcome, Step
from loom.errors import Stale, Unavailable
from loom.messaging import result, task
from loom.messaging.result import ResultMessage
from loom.messaging.topology import task_key
from loom.testing.simulated_world import World


@dataclass(slots=True)
class Agent:
    """An agent: its steps, and until when it is paused. life: grows with each restart."""

    name: str
    steps: Iterator[str]
    paused_until: float = 0.0
    life: int = 1


class Agents:
    """The agents of one project, for a generator of steps each."""

    def __init__(self, world: World, project_id: str, now: datetime, count: int = 3) -> None:
        self._world, self._project_id, self._now = world, project_id, now
        self.all = [Agent(f"agent-{number}", iter(())) for number in range(1, count + 1)]
        for agent in self.all:
            agent.steps = self._steps(agent)

    def advance(self, agent: Agent) -> str:
        """One step of the agent, unless it is paused; it may crash after any, or lose its
        connection without noticing."""
        if agent.paused_until > self._world.clock:
            return "paused"
        said = next(agent.steps)
        if said != "idle":
            self._world.say(agent.name, said)
        if self._world.random.random() < self._world.faults.crash:
            self._world.crashes[f"agent after {said.partition(' ')[0]}"] += 1
            self._world.say(agent.name, "crashed")
            self._world.broker.drop(agent.name)
            agent.life += 1
            agent.steps = self._steps(agent)
        elif self._world.random.random() < self._world.faults.cut:
            self._world.broker.drop(agent.name)
            self._world.say(agent.name, "lost its connection")
        elif self._world.random.random() < self._world.faults.pause:
            agent.paused_until = self._world.clock + self._world.random.choice((5.0, 40.0, 100.0))
            self._world.say(agent.name, "is paused")
        return said

    def _steps(self, agent: Agent) -> Iterator[str]:
        me = f"{agent.name}.{agent.life}"
        while True:
            delivery = self._world.broker.deliver(task_key(self._project_id), agent.name)
            if delivery is None:
                yield "idle"
                continue
            asked = task.read(delivery.headers, delivery.body)
            yield f"delivered {asked.message.bead_id} epoch {asked.epoch}"
            claim = self._world.ledger.claim_bead(
                asked.message.bead_id, asked.epoch, me, redelivered=delivery.redelivered,
                request_id=f"{me}-{self._world.number('request')}",
            )  # fmt: skip
            yield f"claimed {asked.message.bead_id}: {claim.verdict.value} {claim.epoch}"
            if claim.bead is not None:
                yield from self._attempt(me, claim.bead, claim.epoch)
            self._world.broker.ack(agent.name, delivery.tag)
            yield "acked"

    def _attempt(self, me: str, bead: Bead, epoch: int) -> Iterator[str]:
        parent = self._world.repository.parent(bead.id)
        for _ in range(self._world.random.randint(0, 3)):
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
            if not self._world.repository.push(bead.id, outcome.commits[0].sha):
                outcome = _failed(FailureClass.WORK, "the branch is there already")
            yield "pushed"
        yield from self._report(me, bead, epoch, outcome)

    def _renewed(self, bead: Bead, epoch: int, me: str) -> bool:
        try:
            self._world.ledger.renew_lease(bead.id, epoch, me)
        except Stale:
            return False
        return True

    def _outcome(self, bead: Bead, parent: int) -> Outcome:
        chance = self._world.random.random()
        if self._world.faulty and chance < 0.1:
            return _failed(FailureClass.INFRA, "no clone")
        if chance < 0.15:
            return _failed(FailureClass.WORK, "the tests fail")
        step = Step("test", ("true",), 0, 1.0)
        commit = Commit(f"{bead.id}@{parent}", f"agent/{bead.id}")
        return Outcome(succeeded=True, steps=(step,), commits=(commit,))

    def _report(
        self, me: str, bead: Bead, epoch: int, outcome: Outcome, *, progress: bool = False
    ) -> Iterator[str]:
        number = self._world.number("message")
        message = result.report(
            outcome, message_id=f"message-{number}", project_id=self._project_id,
            bead_id=bead.id, agent_id=me, epoch=epoch, correlation_id="corr",
            timestamp=self._now,
        )  # fmt: skip
        if progress:
            message = message.model_copy(update={"type": "task.progress"})
        while not self._confirmed(message):
            yield "held"
        yield "told" if progress else f"reported {bead.id} epoch {epoch}"

    def _confirmed(self, message: ResultMessage) -> bool:
        try:
            (published,) = self._world.broker.publish([result.to_envelope(message)], 1.0)
        except Unavailable:
            return False
        return published.confirmed


def _failed(failure_class: FailureClass, reason: str) -> Outcome:
    return Outcome(succeeded=False, failure_class=failure_class, reason=reason)
