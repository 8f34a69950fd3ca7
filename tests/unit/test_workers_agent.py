"""The agent: claim, work, report, in that order, and what it does when one of them fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from loom.broker.confirms import Published
from loom.domain.bead import NewBead
from loom.domain.evidence import FailureClass, Outcome
from loom.domain.outbox import Claim
from loom.domain.project import Project
from loom.errors import Forbidden, Stale, Unavailable
from loom.messaging import result
from loom.messaging.envelope import Envelope
from loom.messaging.topology import CORE, RESULTS_QUEUE
from loom.settings import AgentSettings
from loom.testing.broker import FakeBroker
from loom.testing.ledger import FakeLedger
from workers.agent import Agent, Assignment
from workers.patience import LedgerAway
from workers.spool import Spool

NAME = "agent-demo@here"


class Stand:
    """An agent on a ledger and a broker in memory, and a bead whose work fails without git."""

    def __init__(self, folder: Path) -> None:
        self.ledger, self.broker = FakeLedger(), FakeBroker()
        self.broker.declare([CORE])
        self.ledger.create_project(Project("demo", str(folder / "none.git")), "c")
        [bead] = self.ledger.create_beads("demo", [NewBead(title="T", id="bd-1")], "c").items
        self.bead_id = bead.id
        self.pauses: list[float] = []
        self.settings = AgentSettings(
            project="demo", workspace=folder / "work", claim_patience_s=600.0
        )
        self.folder = folder
        self.spool = Spool(folder / "spool")

    def agent(self, ledger: object = None) -> Agent:
        return Agent(
            self.settings, NAME, self.folder, ledger=ledger or self.ledger, publisher=self.broker,
            spool=self.spool, pause=self.pauses.append,
        )  # fmt: skip

    def assignment(self, bead_id: str = "", epoch: int = 1) -> Assignment:
        return Assignment(bead_id or self.bead_id, epoch, "c", redelivered=False)

    @property
    def results(self) -> list[result.ResultMessage]:
        return [result.read(e.headers, e.body) for e in self.broker.messages[RESULTS_QUEUE]]


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def test_a_granted_claim_ends_in_a_confirmed_report(stand: Stand) -> None:
    stand.agent().handle(stand.assignment())
    [message] = stand.results
    assert (message.bead_id, message.epoch, message.agent_id) == ("bd-1", 1, NAME)
    assert message.failure_class == "work"
    assert "none.git does not exist on the agent's machine" in message.reason


@pytest.mark.parametrize(("bead_id", "epoch"), [("bd-1", 7), ("bd-unknown", 1)])
def test_a_claim_that_is_not_granted_ends_without_a_report(
    stand: Stand, bead_id: str, epoch: int
) -> None:
    stand.agent().handle(stand.assignment(bead_id, epoch))
    assert not stand.results


def test_a_bead_that_another_holds_is_left_to_it(stand: Stand) -> None:
    stand.ledger.claim_bead("bd-1", 1, "agent-demo@elsewhere")
    stand.agent().handle(stand.assignment())
    assert not stand.results


class Troubled(FakeLedger):
    """A ledger whose claims fail with these errors first, always under one request id."""

    def __init__(self, inner: FakeLedger, *errors: Exception) -> None:
        self.inner, self.errors = inner, list(errors)
        self.request_ids: list[str] = []

    def claim_bead(
        self, bead_id: str, epoch: int, agent_id: str, *, redelivered: bool = False,
        request_id: str = "",
    ) -> Claim:  # fmt: skip
        self.request_ids.append(request_id)
        if self.errors:
            raise self.errors.pop(0)
        return self.inner.claim_bead(
            bead_id, epoch, agent_id, redelivered=redelivered, request_id=request_id
        )

    def renew_lease(self, bead_id: str, epoch: int, agent_id: str) -> float:
        return self.inner.renew_lease(bead_id, epoch, agent_id)


def test_a_ledger_that_is_away_is_waited_for_with_backoff(stand: Stand) -> None:
    ledger = Troubled(stand.ledger, *[Unavailable("away")] * 4)
    stand.agent(ledger).handle(stand.assignment())
    assert len(stand.results) == 1
    assert stand.pauses == [0.1, 0.2, 0.4, 0.8]
    assert len(set(ledger.request_ids)) == 1
    assert len(ledger.request_ids) == 5


def test_a_ledger_that_stays_away_gets_the_task_put_back(stand: Stand) -> None:
    stand.settings = stand.settings.model_copy(update={"claim_patience_s": 0.0})
    ledger = Troubled(stand.ledger, *[Unavailable("away")] * 4)
    with pytest.raises(LedgerAway, match="away"):
        stand.agent(ledger).handle(stand.assignment())
    assert not stand.results


def test_a_refusal_of_the_ledger_is_not_tried_again(stand: Stand) -> None:
    with pytest.raises(Forbidden):
        stand.agent(Troubled(stand.ledger, Forbidden("not yours"))).handle(stand.assignment())
    assert not stand.pauses


def test_a_stale_claim_is_done_with(stand: Stand) -> None:
    stand.agent(Troubled(stand.ledger, Stale("moved on"))).handle(stand.assignment())
    assert not stand.results


def test_a_fault_of_the_agent_is_reported_as_one_of_the_surroundings(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_args: object) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr("workers.recipe.ask", fault)
    stand.agent().handle(stand.assignment())
    [message] = stand.results
    assert message.failure_class == "infra"
    assert message.reason == "the agent has a fault: MemoryError: no more"


def test_a_result_that_is_not_confirmed_is_on_disk_before_it_is_tried_again(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.report.FIRST_PAUSE_S", 0.0)
    stand.broker.away = True
    kept: list[int] = []

    class Returning(FakeBroker):
        """The broker, which comes back once the result is on disk."""

        def publish(self, envelopes: Sequence[Envelope], timeout_s: float) -> list[Published]:
            kept.append(len(stand.spool.waiting()))
            stand.broker.away = len(kept) < 3
            return stand.broker.publish(envelopes, timeout_s)

    agent = Agent(
        stand.settings, NAME, stand.folder, ledger=stand.ledger, publisher=Returning(),
        spool=stand.spool, pause=stand.pauses.append,
    )  # fmt: skip
    agent.handle(stand.assignment())
    assert kept == [0, 1, 1]
    assert len(stand.results) == 1
    assert not stand.spool.waiting()


def test_a_message_whose_result_is_spooled_sends_it_instead_of_working_again(
    stand: Stand,
) -> None:
    stand.agent().handle(stand.assignment())
    [sent] = stand.broker.messages[RESULTS_QUEUE]
    stand.broker.messages[RESULTS_QUEUE].clear()
    stand.spool.keep("bd-1", 1, sent)
    stand.agent(Troubled(stand.ledger, Forbidden("nobody may claim"))).handle(stand.assignment())
    assert stand.broker.messages[RESULTS_QUEUE] == [sent]
    assert not stand.spool.waiting()


def test_a_message_that_comes_again_after_its_result_was_confirmed_is_done_with(
    stand: Stand,
) -> None:
    agent = stand.agent()
    agent.handle(stand.assignment())
    again = replace(stand.assignment(), redelivered=True)
    agent.handle(again)
    assert len(stand.results) == 1
    assert stand.ledger.get_bead("bd-1").epoch == 1


def test_a_bead_is_let_go_once_its_lease_was_renewed_for_long_enough(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.settings = stand.settings.model_copy(update={"hold_s": 0.0})
    told: list[str] = []

    def work(_attempt: object) -> Outcome:
        _attempt._lease.fence()  # type: ignore[attr-defined]
        return Outcome(succeeded=False, failure_class=FailureClass.WORK, reason="no")

    monkeypatch.setattr("workers.attempt.Attempt.run", work)
    agent = Agent(
        stand.settings, NAME, stand.folder, ledger=stand.ledger, publisher=stand.broker,
        spool=stand.spool, pause=stand.pauses.append, let_go=told.append,
    )  # fmt: skip
    agent.handle(stand.assignment())
    assert told
    assert set(told) == {"bd-1"}
