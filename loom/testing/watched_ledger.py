"""The ledger under the eyes of an accountant, who keeps a record of what it answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

from loom.clients.database import Recorded
from loom.domain.bead import Bead
from loom.domain.lifecycle import State
from loom.domain.outbox import Claim, ClaimVerdict, ResultVerdict
from loom.messaging.result import ResultMessage
from loom.testing.ledger import FakeLedger
from loom.testing.simulated_faults import Guards


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

    def __init__(
        self, accountant: Accountant, guards: Guards, random: Random, now: datetime
    ) -> None:
        super().__init__(jitter=random.random, now=now)
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
