"""What becomes of a bead: every sequence of happenings keeps the ledger's promises."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom.database import decisions
from loom.database.changes import Changes, Edit, Moved, Report, Running, Standing
from loom.database.decisions import Wish
from loom.database.judging import judge
from loom.domain.evidence import Commit, FailureClass, Outcome, Step
from loom.domain.lifecycle import State
from loom.domain.outbox import ClaimVerdict, ResultVerdict
from loom.errors import IllegalTransition, Stale
from loom.messaging.deadletter import DeadLetter

BEAD = Standing("b", "p", State.OPEN, 0, 0, 0, 1, 2, "corr", "trace")
PROVEN = Outcome(True, (Step("test", (), 0, 1.0),), (Commit("c", "branch"),))


def report(bead: Standing, outcome: Outcome, **other: object) -> Report:
    agent = bead.running.agent_id if bead.running else "a"
    made = Report("m", bead.project_id, bead.id, bead.epoch, agent, outcome)
    return replace(made, **other)  # type: ignore[arg-type]


def after(bead: Standing, changes: Changes) -> Standing:
    """The bead as the ledger has it when the changes are written."""
    for end in changes.ended:
        assert bead.running is not None
        assert bead.running.epoch == end.epoch
        bead = replace(bead, running=None)
    for move in changes.moved:
        bead = replace(
            bead, state=move.state, epoch=move.epoch, attempts=move.attempts,
            forgiven=move.forgiven, reason=move.reason, version=bead.version + 1,
        )  # fmt: skip
    for start in changes.started:
        assert bead.running is None, "one attempt runs at a time"
        running = Running(start.epoch, start.agent_id, start.request_id, start.lease_s)
        bead = replace(bead, running=running)
    return bead


def happen(  # noqa: PLR0911 - one answer a happening
    bead: Standing, what: str, number: int
) -> Changes:
    try:
        match what:
            case "claim" | "redelivery":
                epoch = bead.epoch + (bead.state is State.OPEN)
                return decisions.claim(
                    bead, epoch, f"a{number}", f"r{number}", lease_s=30,
                    redelivered=what == "redelivery",
                ).changes  # fmt: skip
            case "success":
                return decisions.result(bead, report(bead, PROVEN), 0.5).changes
            case "work" | "infra" | "timeout":
                outcome = Outcome(False, failure_class=FailureClass(what), reason="why")
                return decisions.result(bead, report(bead, outcome), 0.5).changes
            case "late":
                late = report(bead, PROVEN, epoch=max(bead.epoch - 1, 0))
                return decisions.result(bead, late, 0.5).changes
            case "lost":
                return decisions.lost(bead, 0.5) if bead.running else Changes()
            case "dead":
                letter = DeadLetter(
                    "m", "q", "p", "b", bead.epoch + 1, "malformed", "", "", "{}", "[]", b"", "f"
                )
                return decisions.dead(bead, letter)
            case _:
                wish = Wish(bead.version, "operator", state=what, edit=None)
                return decisions.save(bead, wish)
    except IllegalTransition:
        return Changes()


HAPPENINGS = (
    "claim", "redelivery", "success", "work", "infra", "timeout", "late", "lost", "dead", "open",
    "blocked", "closed",
)  # fmt: skip


@given(st.lists(st.sampled_from(HAPPENINGS), max_size=40))
def test_whatever_happens_a_bead_keeps_the_ledgers_promises(story: list[str]) -> None:
    bead = BEAD
    owed = {1}
    for number, what in enumerate(story):
        before = bead
        changes = happen(bead, what, number)
        bead = after(bead, changes)
        if before.state is State.CLOSED:
            assert not changes.moved, "a closed bead never moves"
        assert bead.epoch in (before.epoch, before.epoch + 1), "epochs grow one by one"
        assert (bead.running is not None) == (bead.state is State.IN_PROGRESS)
        if bead.running:
            assert bead.running.epoch == bead.epoch
        assert (bead.state is State.BLOCKED) <= bool(bead.reason), "a person can read why"
        if changes.withdrawn:
            owed.discard(before.epoch + 1)
        owed |= {message.epoch for message in changes.owed}
        if bead.state is State.OPEN:
            assert bead.epoch + 1 in owed, "an open bead is owed its message"
        if changes.moved:
            assert changes.events, "every change of state is told"


@given(st.lists(st.sampled_from(("work", "infra", "lost", "timeout", "redelivery", "claim"))))
def test_a_bead_that_only_fails_ends_or_is_blocked_within_its_budget(story: list[str]) -> None:
    bead = BEAD
    for number, what in enumerate(story):
        bead = after(bead, happen(bead, what, number))
    if bead.state is State.OPEN:
        assert bead.attempts < 5 + story.count("redelivery")


def test_an_unblocked_bead_gets_its_budget_anew() -> None:
    bead = replace(BEAD, state=State.BLOCKED, epoch=5, attempts=5, reason="no disk")
    bead = after(bead, decisions.save(bead, Wish(1, "operator", state="open")))
    assert (bead.state, bead.forgiven) == (State.OPEN, 5)
    bead = after(bead, happen(bead, "claim", 1))
    bead = after(bead, happen(bead, "infra", 2))
    assert bead.state is State.OPEN


def test_a_repeat_after_the_lease_ended_is_no_grant() -> None:
    running = Running(1, "a", "r", -0.1)
    bead = replace(BEAD, state=State.IN_PROGRESS, epoch=1, attempts=1, running=running)
    claimed = decisions.claim(bead, 1, "a", "r", lease_s=30, redelivered=False)
    assert claimed.verdict is ClaimVerdict.HELD


def test_an_edit_keeps_the_reason_of_a_blocked_bead() -> None:
    bead = replace(BEAD, state=State.BLOCKED, reason="no disk")
    edit = Edit("t", "", {}, 0)
    (moved,) = decisions.save(bead, Wish(1, "operator", edit=edit)).moved
    assert isinstance(moved, Moved)
    assert (moved.state, moved.reason, moved.edit) == (State.BLOCKED, "no disk", edit)


def test_an_edit_of_an_older_version_is_stale() -> None:
    with pytest.raises(Stale) as refused:
        decisions.save(BEAD, Wish(7, "operator", state="blocked"))
    assert refused.value.data["version"] == "1"


def test_an_unblocked_bead_is_owed_under_its_new_priority() -> None:
    bead = replace(BEAD, state=State.BLOCKED, reason="no disk")
    wish = Wish(1, "operator", state="open", edit=Edit("t", "", {}, 0))
    (owed,) = decisions.save(bead, wish).owed
    assert (owed.epoch, owed.attempt, owed.priority) == (1, 1, 0)


def test_of_two_results_of_one_attempt_in_a_batch_the_first_counts() -> None:
    running = Running(1, "a", "r", 10)
    bead = replace(BEAD, state=State.IN_PROGRESS, epoch=1, attempts=1, running=running)
    first = report(bead, Outcome(False, failure_class=FailureClass.WORK, reason="x"))
    second = replace(report(bead, PROVEN), message_id="n")
    batch = judge([first, second, first], {"b": bead}, (), lambda: 0.5)
    assert [judged.verdict for judged in batch.judged] == [
        ResultVerdict.APPLIED, ResultVerdict.STALE, ResultVerdict.DUPLICATE,
    ]  # fmt: skip
    assert len(batch.changes.moved) == len(batch.changes.ended) == 1
    assert set(batch.kept([first, second, first])) == {"m", "n"}


def test_progress_before_the_end_in_one_batch_counts_too() -> None:
    running = Running(1, "a", "r", 10)
    bead = replace(BEAD, state=State.IN_PROGRESS, epoch=1, attempts=1, running=running)
    progress = report(bead, Outcome(False, output="x" * 5000), progress=True, message_id="p")
    batch = judge([progress, report(bead, PROVEN)], {"b": bead}, (), lambda: 0.5)
    assert [judged.verdict for judged in batch.judged] == [ResultVerdict.APPLIED] * 2
    assert len(batch.changes.events[0].data["output"]) == decisions.TOLD
