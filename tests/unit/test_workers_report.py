"""The report of an attempt: its size, and its way to the broker."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from loom.broker.confirms import Published, Status
from loom.domain.evidence import (
    MAX_ARTIFACTS,
    MAX_FAILURES,
    MAX_FINDINGS,
    MAX_STEPS,
    MAX_SUB_BEADS,
    Artifact,
    Commit,
    FailureClass,
    Finding,
    Outcome,
    Step,
    StepKind,
    SubBead,
    TestFailure,
    TestReport,
)
from loom.errors import Internal, Stale
from loom.messaging import result
from loom.messaging.envelope import Envelope
from loom.messaging.topology import CORE, MAX_RESULT_BYTES, RESULTS_QUEUE
from loom.testing.broker import FakeBroker
from workers import cutting, report, sub_beads
from workers.lease import Lease, LeaseLost


def compose(outcome: Outcome) -> Envelope:
    return report.compose(
        outcome, message_id="m-1", project_id="demo", bead_id="bd-1", agent_id="agent-demo@here",
        epoch=1, correlation_id="c", timestamp=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def lease() -> Lease:
    return Lease(lambda: 60.0, 60.0, time.monotonic(), lambda: None)


@pytest.fixture
def broker() -> FakeBroker:
    made = FakeBroker()
    made.declare([CORE])
    return made


def test_a_short_report_is_whole() -> None:
    step = Step("test", ("make", "test"), 0, 1.5, "fine\n")
    outcome = Outcome(True, (step,), (Commit("abc", "agent/bd-1"),), "fine\n")
    envelope = compose(outcome)
    assert result.read(envelope.headers, envelope.body).outcome() == outcome


def test_a_long_output_keeps_its_end_and_says_what_is_missing() -> None:
    lines = "".join(f"line {number}\n" for number in range(50_000))
    envelope = compose(Outcome(True, (Step("test", ("t",), 0, 1.0, lines),), (), lines))
    message = result.read(envelope.headers, envelope.body)
    assert message.result.output.endswith("line 49999\n")
    assert message.result.output.startswith("[")
    assert len(message.result.output) < cutting.OUTPUT_CHARS + 100
    assert len(message.evidence[0].output_tail) < cutting.STEP_OUTPUT_CHARS + 100


@pytest.mark.parametrize("char", ["\x01", "\0", "\ud800", "ß", "𝄞", '"', "\n"])
def test_a_report_stays_below_the_limit_whatever_it_holds(char: str) -> None:
    long = char * 300_000
    some = long[:3000]
    tests = TestReport(some, 2**40, 0, 2**40, 0, (TestFailure(some, some),) * 500)
    steps = tuple(
        Step(
            name, ("program", *(long[:5000] for _ in range(500))), 1, 1.0, long, tests=tests,
            findings=(Finding(some, some, 2**40, some, some),) * 500,
            log=Artifact(char * 500, "a" * 64, 1, char),
        )
        for name in ("checkout", "patch", "test", "commit", "push")
    )  # fmt: skip
    envelope = compose(
        Outcome(
            False, steps, (), long, failure_class=FailureClass.WORK, reason=long, notes=long,
            artifacts=(Artifact(char * 500, "a" * 64, 1),) * 2_000, planned=("test", char),
            sub_beads=(SubBead(char * 400, char * 5_000),) * 8,
        )
    )  # fmt: skip
    assert len(envelope.body) < MAX_RESULT_BYTES
    read = result.read(envelope.headers, envelope.body)
    assert [step.name for step in read.evidence] == [step.name for step in steps]
    assert all(step.tests and step.tests.failures and step.findings for step in read.evidence)
    assert len(read.result.sub_beads) == 8
    json.loads(envelope.body)


def test_of_failures_findings_and_artifacts_there_are_as_many_as_a_message_may_have() -> None:
    tests = TestReport("t", 500, 0, 500, 0, tuple(TestFailure(f"n{i}") for i in range(500)))
    findings = tuple(Finding("t", "f", i, "r") for i in range(500))
    kept = tuple(Artifact(f"a{i}", "a" * 64, 1) for i in range(600))
    step = Step("test", ("t",), 1, 1.0, tests=tests, findings=findings)
    message = read_back(Outcome(False, (step,), artifacts=kept))
    assert message.evidence[0].tests is not None
    assert len(message.evidence[0].tests.failures) == MAX_FAILURES
    assert message.evidence[0].tests.failed == 500
    assert len(message.evidence[0].findings) == MAX_FINDINGS
    assert len(message.result.artifacts) == MAX_ARTIFACTS
    assert message.result.notes == "100 more artifacts are left out"


def test_of_very_many_steps_those_that_prove_are_kept() -> None:
    busy = [Step(f"action {i}", ("t",), 0, 0.1, kind=StepKind.WORK) for i in range(400)]
    broken = Step("action 7b", ("t",), 1, 0.1, kind=StepKind.WORK)
    test = Step("unit", ("t",), 0, 0.1, kind=StepKind.TEST)
    steps = (busy[0], broken, *busy[1:], test)
    message = read_back(Outcome(True, steps, planned=("action 3", "unit")))
    names = [step.name for step in message.evidence]
    assert len(names) == MAX_STEPS
    assert {"action 7b", "action 3", "unit", "action 399"} <= set(names)
    assert message.result.notes == "202 steps that passed are left out"


def test_beads_over_the_limits_are_refused_in_words_and_never_dropped() -> None:
    large = SubBead("large", "x" * sub_beads.MAX_BYTES)
    odd = SubBead("odd", context={"a": float("nan")})
    beads = tuple(SubBead(f"n{i}") for i in range(MAX_SUB_BEADS + 1))
    message = read_back(Outcome(True, notes="Mine.", sub_beads=(large, odd, *beads)))
    assert [bead.title for bead in message.result.sub_beads] == [b.title for b in beads[:-1]]
    told = message.result.notes.splitlines()
    assert told[0] == "Mine."
    assert [line for line in told if "'large'" in line and "262144 bytes" in line]
    assert [line for line in told if "'odd' cannot be filed" in line]
    assert [line for line in told if "may ask for 50 beads: 'n50' is more" in line]


def read_back(outcome: Outcome) -> result.ResultMessage:
    envelope = compose(outcome)
    return result.read(envelope.headers, envelope.body)


def test_a_report_is_delivered_once_the_broker_has_confirmed_it(broker: FakeBroker) -> None:
    envelope = compose(Outcome(True))
    assert report.publish(broker, envelope)
    assert broker.messages[RESULTS_QUEUE] == [envelope]


def test_a_broker_that_is_away_is_waited_for(broker: FakeBroker) -> None:
    broker.away = True
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        broker.away = len(pauses) < 8

    report.deliver(broker, compose(Outcome(True)), pause)
    assert len(broker.messages[RESULTS_QUEUE]) == 1
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_an_unconfirmed_report_is_published_again(broker: FakeBroker) -> None:
    broker.lose_after = 0
    envelope = compose(Outcome(True))
    assert not report.publish(broker, envelope)
    report.deliver(broker, envelope, lambda _s: None)
    assert len(broker.messages[RESULTS_QUEUE]) == 1


def test_what_ends_the_waiting_ends_the_delivery(broker: FakeBroker) -> None:
    def stale() -> float:
        raise Stale("taken over")

    lost = Lease(stale, 60.0, time.monotonic(), lambda: None)
    with pytest.raises(LeaseLost):
        lost.fence()
    broker.away = True
    with pytest.raises(LeaseLost):
        report.deliver(broker, compose(Outcome(True)), lost.pause)


def test_a_report_that_amqp_cannot_hold_is_a_fault_and_no_endless_loop() -> None:
    class Refuses:
        def publish(self, envelopes: Sequence[Envelope], timeout_s: float) -> list[Published]:
            return [Published(Status.UNWRITABLE, "no such value")] * len(envelopes)

    with pytest.raises(Internal, match="no such value"):
        report.publish(Refuses(), compose(Outcome(True)))
