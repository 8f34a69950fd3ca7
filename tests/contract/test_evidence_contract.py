"""What attempts show and ask for: one suite for the ledger in memory and the real one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from test_ledger_contract import INFRA, PROVEN, WORK, World, real, said, world

from loom.database.sub_beads import MAX_GENERATION, id_of
from loom.domain.bead import NewBead
from loom.domain.evidence import (
    MAX_SUB_BEADS,
    Artifact,
    FailureClass,
    Finding,
    Outcome,
    Step,
    StepKind,
    SubBead,
    TestFailure,
    TestReport,
)
from loom.domain.lifecycle import Resolution, State
from loom.domain.outbox import OutboxKind, ResultVerdict
from loom.domain.rules import Rules

__all__ = ["real", "world"]

NOTHING_FOUND = TestReport("pytest", 0, 0, 0, 0)


def asking(*beads: SubBead, outcome: Outcome = PROVEN) -> Outcome:
    return replace(outcome, sub_beads=beads)


def others(world: World, bead_id: str) -> list[Any]:
    return [bead for bead in world.control.list_beads("alpha").items if bead.id != bead_id]


def test_all_that_an_attempt_shows_is_kept(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    outcome = replace(
        PROVEN,
        steps=(
            Step(
                "ruff", ("ruff", "check"), 1, 0.25, "F401", StepKind.LINT, advisory=True,
                findings=(Finding("ruff", "a.py", 3, "F401", "unused"),),
            ),
            Step(
                "unit", ("pytest",), 0, 1.5, "ok", StepKind.TEST,
                tests=TestReport("junit", 3, 2, 0, 1),
                log=Artifact("log/unit.txt", "a" * 64, 9, "text/plain"),
            ),
        ),
        artifacts=(Artifact("dist/a.whl", "b" * 64, 2**40),),
        planned=("ruff", "unit"),
        notes="Read this.",
    )  # fmt: skip
    assert world.report(said(bead, outcome)) == [ResultVerdict.APPLIED]
    (attempt,) = world.control.list_attempts(bead.id)
    assert attempt.steps == outcome.steps
    assert (attempt.artifacts, attempt.notes) == (outcome.artifacts, "Read this.")


def test_no_character_of_a_report_is_more_than_the_ledger_can_hold(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    step = Step(
        "unit", ("t",), 1, 1.0, kind=StepKind.TEST,
        tests=TestReport("tap", 1, 0, 1, 0, (TestFailure("a\0b", "\0"),)),
        findings=(Finding("tap", "\0", 0, "\0", "\0"),),
    )  # fmt: skip
    outcome = replace(WORK, steps=(step,), notes="\0")
    assert world.report(said(bead, outcome)) == [ResultVerdict.APPLIED]
    (attempt,) = world.control.list_attempts(bead.id)
    assert attempt.steps[0].tests.failures[0].name == "a\N{REPLACEMENT CHARACTER}b"
    assert attempt.notes == "\N{REPLACEMENT CHARACTER}"


def test_no_tests_is_a_failure_of_its_own(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    step = Step("unit", ("pytest",), 5, 1.0, kind=StepKind.TEST, tests=NOTHING_FOUND)
    reason = "the test steps found no test"
    outcome = Outcome(False, (step,), failure_class=FailureClass.NO_TESTS, reason=reason)
    assert world.report(said(bead, outcome)) == [ResultVerdict.APPLIED]
    closed = world.control.get_bead(bead.id)
    assert (closed.resolution, closed.reason) == (Resolution.FAILED, reason)
    (attempt,) = world.control.list_attempts(bead.id)
    assert attempt.failure_class is FailureClass.NO_TESTS
    assert attempt.steps[0].tests == NOTHING_FOUND


def test_no_tests_proves_success_where_the_project_s_rules_say_so(world: World) -> None:
    step = Step("unit", ("pytest",), 0, 1.0, kind=StepKind.TEST, tests=NOTHING_FOUND)
    bare = replace(PROVEN, steps=(step,))
    world.project()
    strict = world.bead()
    world.claim(strict)
    assert world.report(said(strict, bare)) == [ResultVerdict.UNPROVEN]
    world.project("beta", rules=Rules(allow_no_tests=True))
    lenient = world.bead("beta")
    world.agents["beta"].claim_bead(lenient.id, 1, "agent-beta@host")
    message = said(lenient, bare, agent_id="agent-beta@host")
    assert world.report(message) == [ResultVerdict.APPLIED]


def test_tests_that_failed_prove_nothing_whatever_the_exit_code_says(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    tests = TestReport("tap", 2, 1, 1, 0, (TestFailure("t"),))
    step = Step("unit", ("t",), 0, 1.0, kind=StepKind.TEST, tests=tests)
    assert world.report(said(bead, replace(PROVEN, steps=(step,)))) == [ResultVerdict.UNPROVEN]


def test_a_planned_step_without_evidence_proves_nothing(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    outcome = replace(PROVEN, planned=("test", "build"))
    assert world.report(said(bead, outcome)) == [ResultVerdict.UNPROVEN]


# Beads that an attempt asks for.


def test_the_beads_a_success_asks_for_are_filed_with_it(world: World) -> None:
    world.project()
    bead = world.bead()
    world.dispatch()
    world.claim(bead)
    asked = SubBead("Take it away", "It is unused.", {"found": ["a.py"]}, 1)
    world.report(said(bead, asking(asked, SubBead("Write it down"))))
    filed = {each.title: each for each in others(world, bead.id)}
    assert set(filed) == {"Take it away", "Write it down"}
    first = filed["Take it away"]
    assert (first.state, first.priority, first.description) == (State.OPEN, 1, "It is unused.")
    assert first.context == {"found": ["a.py"], "filed_by": bead.id, "generation": 1}
    assert first.correlation_id == bead.correlation_id
    rows = world.dispatcher.lease_outbox("d", 100)
    assert {row.bead_id for row in rows if row.kind is OutboxKind.TASK} == {
        each.id for each in filed.values()
    }
    events = {(row.type, row.bead_id): row.payload for row in rows}
    assert events["bead.created", first.id]["title"] == "Take it away"
    assert set(events["bead.closed", bead.id]["filed"]) == {e.id for e in filed.values()}


def test_what_failed_for_good_files_its_beads_and_what_is_tried_again_does_not(
    world: World,
) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    world.report(said(bead, asking(SubBead("Mend it"), outcome=INFRA)))
    assert others(world, bead.id) == [], "its next attempt asks anew"
    world.advance(301)
    world.dispatch()
    world.claim(bead, 2)
    world.report(said(bead, asking(SubBead("Mend it"), outcome=WORK), 2))
    assert [each.title for each in others(world, bead.id)] == ["Mend it"]


def test_a_result_that_comes_twice_files_its_beads_once(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    message = said(bead, asking(SubBead("Once")))
    again = said(bead, asking(SubBead("Once")))
    world.report(message, message, again)
    world.report(message)
    assert [each.title for each in others(world, bead.id)] == ["Once"]


def test_a_bead_that_was_filed_can_file_others_only_so_far(world: World) -> None:
    world.project()
    bead = world.bead()
    for generation in range(1, MAX_GENERATION + 1):
        world.claim(bead)
        world.report(said(bead, asking(SubBead(f"generation {generation}"))))
        (bead,) = [b for b in others(world, "") if b.title == f"generation {generation}"]
    world.claim(bead)
    assert world.report(said(bead, asking(SubBead("too far")))) == [ResultVerdict.APPLIED]
    assert "too far" not in [each.title for each in others(world, "")]
    (attempt,) = world.control.list_attempts(bead.id)
    assert attempt.notes.startswith("1 beads are not filed:")
    assert attempt.outcome == "succeeded"


def test_a_bead_that_cannot_be_filed_is_told_of_and_costs_no_result(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    beads = (SubBead("  "), SubBead("nul", context={"a": "\0"}), SubBead("fine"))
    outcome = replace(asking(*beads), notes="Mine.")
    assert world.report(said(bead, outcome)) == [ResultVerdict.APPLIED]
    assert [each.title for each in others(world, bead.id)] == ["fine"]
    (attempt,) = world.control.list_attempts(bead.id)
    assert attempt.notes.splitlines()[0] == "Mine."
    assert "'  ' is not filed: title has to be" in attempt.notes
    assert "'nul' is not filed: context has a NUL" in attempt.notes


def test_as_many_beads_as_one_attempt_may_ask_for_are_filed(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    world.report(said(bead, asking(*(SubBead(f"n {i}") for i in range(MAX_SUB_BEADS)))))
    assert len(world.control.list_beads("alpha", page_size=100).items) == MAX_SUB_BEADS + 1


def test_a_bead_with_the_id_of_one_that_is_asked_for_is_left_alone(world: World) -> None:
    world.project()
    bead = world.bead()
    world.control.create_beads("alpha", [NewBead("mine", id_of(bead.id, 1, 0))], "corr")
    world.claim(bead)
    assert world.report(said(bead, asking(SubBead("theirs")))) == [ResultVerdict.APPLIED]
    assert world.control.get_bead(id_of(bead.id, 1, 0)).title == "mine"
