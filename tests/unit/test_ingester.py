"""The ingester between a broker in memory and a ledger in memory."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom.clients.database import Recorded
from loom.domain.bead import NewBead
from loom.domain.evidence import Outcome, Step
from loom.domain.lifecycle import State
from loom.domain.outbox import ResultVerdict
from loom.domain.project import Project
from loom.errors import (
    DeadlineExceeded,
    Exhausted,
    Forbidden,
    Internal,
    Invalid,
    Unauthenticated,
    Unavailable,
)
from loom.ingester.burial import Undertaker
from loom.ingester.letters import Letters
from loom.ingester.recording import FAULT_TRIES, portions, record
from loom.ingester.results import Results, sort
from loom.messaging import deadletter, result
from loom.messaging.envelope import Envelope
from loom.messaging.topology import (
    CORE,
    DEAD_LEDGER_QUEUE,
    DEAD_RESULTS_QUEUE,
    RESULTS,
    RESULTS_QUEUE,
    of_project,
    result_key,
)
from loom.telemetry.process import Stopped
from loom.testing.broker import FakeBroker
from loom.testing.ledger import FakeLedger
from loom.testing.stopping import Unhurried

AT = datetime(2026, 11, 22, tzinfo=UTC)
PROVEN = Outcome(True, (Step("test", ("true",), 0, 1.0, "ok"),))
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Judging:
    """A ledger that gives each result the verdict named in its reason, after given troubles."""

    def __init__(self, *troubles, poison=(), error=Invalid):
        self.troubles, self.poison, self.error = list(troubles), set(poison), error
        self.results, self.letters, self.calls = [], [], []

    def record_results(self, results):
        ids = [message.message_id for message, _ in results]
        self._trouble(ids)
        self.results += ids
        return tuple(
            Recorded(m.message_id, ResultVerdict(m.reason or "applied"), f"it is {m.reason}")
            for m, _ in results
        )

    def record_dead_letters(self, letters):
        self._trouble([letter.message_id for letter in letters if letter.body])
        self.letters += letters
        return len(letters), 0

    def _trouble(self, ids):
        self.calls.append(ids)
        if self.troubles:
            raise self.troubles.pop(0)
        if self.poison & set(ids):
            raise self.error(f"no {self.poison & set(ids)}")


def a_result(number, verdict="", bead="bd-1", epoch=1):
    message = result.report(
        PROVEN,
        message_id=f"r{number}",
        project_id="p1",
        bead_id=bead,
        agent_id="agent",
        epoch=epoch,
        correlation_id="c",
        timestamp=AT,
    )
    return result.to_envelope(message.model_copy(update={"reason": verdict}), TRACEPARENT)


def junk(number):
    return Envelope(RESULTS, result_key("p1"), b"hello", f"j{number}", "c")


class Intake:
    """A broker with results on it, and the ingester's handler of them."""

    def __init__(self, ledger, *envelopes):
        self.ledger, self.broker = ledger, FakeBroker()
        self.broker.declare([CORE, of_project("p1")])
        self.broker.publish(envelopes, 10)
        undertaker = Undertaker(
            self.broker.publish, lambda: self.broker.declare([CORE]), timeout_s=10
        )
        self.results = Results(ledger, undertaker)

    def take(self, stopping=None):
        """Handle what stands in the queue; the message ids that were acknowledged."""
        self.taken = self.broker.take(RESULTS_QUEUE)
        self.results.handle(self.taken, stopping or Unhurried())
        return self.acked()

    def acked(self):
        return [delivery.message_id for delivery in self.taken.acked]

    def dead(self, queue=DEAD_RESULTS_QUEUE):
        return {e.message_id: e.headers["x-loom-reason"] for e in self.broker.messages[queue]}


def test_a_proven_result_closes_its_bead():
    ledger = FakeLedger()
    ledger.create_project(Project("p1", "/srv/p1.git"), "c")
    (bead,) = ledger.create_beads("p1", [NewBead("t")], "c").items
    claim = ledger.claim_bead(bead.id, 1, "agent")
    intake = Intake(ledger, a_result(1, bead=bead.id, epoch=claim.epoch))
    assert intake.take() == ["r1"]
    assert ledger.get_bead(bead.id).state is State.CLOSED
    assert intake.take() == ["r1"], "the same message again is acknowledged and changes nothing"


@pytest.mark.parametrize("verdict", ["applied", "duplicate", "stale"])
def test_a_result_that_has_done_its_work_is_acknowledged(verdict):
    intake = Intake(Judging(), a_result(1, verdict=verdict))
    assert intake.take() == ["r1"]
    assert intake.dead() == {}


@pytest.mark.parametrize("verdict", ["unknown", "unproven"])
def test_a_result_that_the_ledger_refuses_is_dead_lettered_with_its_verdict(verdict):
    intake = Intake(Judging(), a_result(1, verdict=verdict), a_result(2))
    assert set(intake.take()) == {"r1", "r2"}
    assert intake.dead() == intake.dead(DEAD_LEDGER_QUEUE) == {"r1": verdict}


def test_what_cannot_be_read_is_dead_lettered_and_the_rest_goes_on():
    intake = Intake(Judging(), a_result(1), junk(1), a_result(2), junk(2))
    assert set(intake.take()) == {"r1", "j1", "r2", "j2"}
    assert intake.dead() == {"j1": "malformed", "j2": "malformed"}
    assert intake.ledger.results == ["r1", "r2"]


def signed(envelope, user, **other):
    return replace(envelope, user_id=user, **other)


@pytest.mark.parametrize(
    "envelope",
    [
        signed(a_result(1), "agent-p2"),
        signed(a_result(1), "agent-p2", routing_key=result_key("p2")),
        signed(a_result(1), "agent-p1", routing_key=result_key("p2")),
        signed(a_result(1), "agent-p1", routing_key=RESULTS_QUEUE),
        signed(a_result(1), "flower"),
        signed(a_result(1), "dispatcher", routing_key=result_key("p2")),
    ],
)
def test_a_result_that_is_not_its_senders_to_send_is_dead_lettered_as_forged(envelope):
    intake = Intake(Judging(), envelope)
    assert intake.take() == ["r1"]
    assert intake.ledger.results == []
    assert intake.dead() == {"r1": "forged"}
    (letter,) = intake.broker.messages[DEAD_LEDGER_QUEUE]
    assert (letter.headers["id"], letter.headers["epoch"]) == ("", 0)


@pytest.mark.parametrize(
    ("user", "key"),
    [
        ("agent-p1", result_key("p1")),
        ("dispatcher", result_key("p1")),
        ("operator", result_key("p1")),
        ("operator", RESULTS_QUEUE),
    ],
)
def test_a_result_counts_from_its_projects_agents_and_from_loom_itself(user, key):
    intake = Intake(Judging(), signed(a_result(1), user, routing_key=key))
    assert intake.take() == ["r1"]
    assert intake.ledger.results == ["r1"]


def test_an_unreadable_result_names_its_bead_by_its_headers_within_its_senders_project():
    headers = {"id": "bd-1", "epoch": 3, deadletter.PROJECT: "p2"}
    mine, theirs = replace(junk(1), headers=headers), replace(junk(2), headers=headers)
    taken = dead_letters(signed(mine, "agent-p1"), signed(theirs, "agent-p2"))
    read = {each.message_id: deadletter.read(each) for each in taken.deliveries}
    assert (read["j1"].project_id, read["j1"].bead_id, read["j1"].epoch) == ("p1", "bd-1", 3)
    assert (read["j2"].bead_id, read["j2"].epoch) == ("", 0)


def test_sorting_keeps_the_order_and_loses_nothing():
    broker = FakeBroker()
    broker.declare([CORE])
    broker.publish([a_result(1), junk(1), a_result(2)], 10)
    readable, refused = sort(broker.take(RESULTS_QUEUE).deliveries)
    assert [r.message.message_id for r in readable] == ["r1", "r2"]
    assert [(r.delivery.message_id, r.reason) for r in refused] == [("j1", "malformed")]


def test_the_trace_goes_on_into_the_ledger():
    seen = []

    class Tracing(Judging):
        def record_results(self, results):
            seen.extend(traceparent for _, traceparent in results)
            return super().record_results(results)

    Intake(Tracing(), a_result(1)).take()
    assert seen[0].split("-")[1] == TRACEPARENT.split("-")[1]


@pytest.mark.parametrize(
    "error", [Unavailable, DeadlineExceeded, Exhausted, Unauthenticated, Forbidden]
)
def test_while_the_ledger_is_away_the_batch_is_held(error):
    intake = Intake(Judging(*[error("away")] * 5), a_result(1))
    stopping = Unhurried(lambda: held.append(intake.acked()))
    held = []
    assert intake.take(stopping) == ["r1"]
    assert held == [[]] * 5
    assert intake.dead() == {}


def test_a_batch_that_is_held_goes_back_when_the_process_stops():
    intake = Intake(Judging(*[Unavailable("away")] * 99), a_result(1))
    stopping = Unhurried()
    stopping.hook = stopping.set
    with pytest.raises(Stopped):
        intake.take(stopping)
    assert intake.acked() == []


@pytest.mark.parametrize("error", [Invalid, Internal])
def test_one_poisonous_result_is_found_and_the_others_are_recorded(error):
    ledger = Judging(poison={"r13"}, error=error)
    intake = Intake(ledger, *(a_result(n) for n in range(40)))
    assert len(intake.take()) == 40
    assert set(ledger.results) == {f"r{n}" for n in range(40)} - {"r13"}
    assert set(intake.dead()) == {"r13"}


def test_a_fault_of_the_ledgers_is_given_time_to_pass():
    ledger = Judging(*[Internal("a fault")] * (FAULT_TRIES - 1))
    stopping = Unhurried()
    assert Intake(ledger, a_result(1)).take(stopping) == ["r1"]
    assert len(stopping.waits) == FAULT_TRIES - 1
    assert stopping.waits == sorted(stopping.waits)


def test_a_batch_that_the_ledger_cannot_do_in_time_is_given_to_it_in_parts():
    class Slow(Judging):
        def record_results(self, results):
            if len(results) > 10:
                raise DeadlineExceeded("too many")
            return super().record_results(results)

    ledger = Slow()
    assert len(Intake(ledger, *(a_result(n) for n in range(40))).take()) == 40
    assert len(ledger.results) == 40


def test_a_value_that_the_contract_cannot_carry_is_the_messages_fault():
    class Narrow(Judging):
        def record_results(self, results):
            if any(m.message_id == "r1" for m, _ in results):
                raise ValueError("Value out of range")
            return super().record_results(results)

    intake = Intake(Narrow(), a_result(0), a_result(1), a_result(2))
    assert len(intake.take()) == 3
    assert intake.dead() == {"r1": "internal"}


def test_a_ledger_that_answers_for_too_few_is_at_fault():
    class Forgetful(Judging):
        def record_results(self, results):
            return super().record_results(results)[:1]

    intake = Intake(Forgetful(), a_result(1), a_result(2))
    assert set(intake.take()) == {"r1", "r2"}
    assert intake.dead() == {}


def test_nothing_is_acknowledged_before_its_dead_letter_is_confirmed():
    intake = Intake(Judging(), junk(1))
    acked = []

    def comes_back():
        acked.append(intake.acked())
        intake.broker.away = len(acked) < 3

    intake.broker.away = True
    assert intake.take(Unhurried(comes_back)) == ["j1"]
    assert acked == [[], [], []]
    assert set(intake.dead()) == {"j1"}


def test_a_dead_letter_queue_that_is_gone_is_made_again():
    intake = Intake(Judging(), junk(1))
    intake.broker.delete_queue(DEAD_RESULTS_QUEUE)
    intake.broker.delete_queue(DEAD_LEDGER_QUEUE)
    intake.broker.lose_after = 0
    assert intake.take() == ["j1"]
    assert set(intake.dead()) == set(intake.dead(DEAD_LEDGER_QUEUE)) == {"j1"}


def test_a_message_whose_headers_amqp_does_not_take_back_is_buried_without_them():
    intake = Intake(Judging())
    odd = Envelope(RESULTS, result_key("p1"), b"hello", "j1", "c", {"ratio": 0.5})
    intake.broker.messages[RESULTS_QUEUE].append(odd)
    assert intake.take() == ["j1"]
    (letter,) = intake.broker.messages[DEAD_RESULTS_QUEUE]
    assert letter.body == b"hello"
    assert "ratio" not in letter.headers
    assert letter.headers["x-loom-queue"] == RESULTS_QUEUE


def dead_letters(*envelopes):
    """What stands in the ledger's dead-letter queue after these were given up."""
    intake = Intake(Judging(), *envelopes)
    intake.take()
    return intake.broker.take(DEAD_LEDGER_QUEUE)


def test_dead_letters_are_recorded_and_acknowledged():
    ledger, taken = FakeLedger(), dead_letters(junk(1), junk(2))
    Letters(ledger).handle(taken, Unhurried())
    assert len(taken.acked) == 2
    letters = ledger.list_dead_letters().items
    assert {(e.message_id, e.queue, e.reason) for e in letters} == {
        ("j1", RESULTS_QUEUE, "malformed"),
        ("j2", RESULTS_QUEUE, "malformed"),
    }


def test_dead_letters_are_held_while_the_ledger_is_away():
    ledger, taken = Judging(*[Unavailable("away")] * 3), dead_letters(junk(1))
    stopping = Unhurried(lambda: held.append(list(taken.acked)))
    held = []
    Letters(ledger).handle(taken, stopping)
    assert held == [[]] * 3
    assert len(taken.acked) == 1


def test_a_dead_letter_that_the_ledger_refuses_is_recorded_bare():
    ledger, taken = Judging(poison={"j2"}), dead_letters(junk(1), junk(2), junk(3))
    Letters(ledger).handle(taken, Unhurried())
    assert len(taken.acked) == 3
    bare = next(letter for letter in ledger.letters if letter.message_id == "j2")
    assert (bare.body, bare.queue, bare.reason) == (b"", RESULTS_QUEUE, "malformed")
    assert "did not take" in bare.detail


def test_a_dead_letter_that_cannot_be_recorded_at_all_does_not_stop_the_others():
    class Adamant(Judging):
        def _trouble(self, ids):
            pass

        def record_dead_letters(self, letters):
            if any(letter.message_id == "j2" for letter in letters):
                raise Invalid("never")
            return super().record_dead_letters(letters)

    ledger, taken = Adamant(), dead_letters(junk(1), junk(2), junk(3))
    Letters(ledger).handle(taken, Unhurried())
    assert len(taken.acked) == 3
    assert {letter.message_id for letter in ledger.letters} == {"j1", "j3"}


def test_a_dead_letter_of_any_shape_is_read():
    broker = FakeBroker()
    broker.declare([CORE])
    broker.publish([Envelope("loom.dead", "loom.dead.p1", b"\xff", "", "", {"id": [1]})], 10)
    letter = deadletter.read(broker.take(DEAD_LEDGER_QUEUE).deliveries[0])
    assert (letter.project_id, letter.reason) == ("p1", "unknown")


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 100))
def test_portions_keep_every_item_in_order_within_the_limit(sizes, limit):
    items = list(enumerate(sizes))
    runs = portions(items, lambda item: item[1], limit)
    assert [item for run in runs for item in run] == items
    assert all(run for run in runs)
    assert all(len(run) == 1 or sum(size for _, size in run) <= limit for run in runs)


@given(st.sets(st.integers(0, 60)), st.integers(0, 60))
def test_whatever_is_refused_all_others_are_recorded_exactly_once(poison, count):
    recorded = []

    def call(items):
        if poison & set(items):
            raise Invalid("no")
        recorded.extend(items)

    items = list(range(count))
    refused = record(items, call, Unhurried()) if items else []
    assert {item for item, _ in refused} == poison & set(items)
    assert recorded == [item for item in items if item not in poison]
