"""What people do to beads and dead letters: one suite for the ledger in memory and the real one."""

from __future__ import annotations

from typing import Any

import pytest
from test_ledger_contract import AGENT, PROVEN, World, letter, real, said, world

from loom.domain.audit import Intervention
from loom.domain.bead import Bead
from loom.domain.identity import new_message_id
from loom.domain.lifecycle import Resolution, State
from loom.domain.outbox import ClaimVerdict, OutboxKind, OutboxRow, ResultVerdict
from loom.domain.replay import LetterState, ReplayState
from loom.errors import Conflict, IllegalTransition, Invalid, NotFound, Stale
from loom.messaging.deadletter import MAX_LISTED_BYTES, DeadLetter
from loom.messaging.sender import FORGED
from loom.messaging.topology import RESULTS_QUEUE

__all__ = ["real", "world"]

BY = Intervention("ada", "the tests were wrong", "corr")


def foreign(number: int = 1, **other: Any) -> DeadLetter:
    words: dict[str, Any] = {
        "message_id": f"foreign-{number}", "queue": "loom.tasks.alpha", "project_id": "alpha",
        "bead_id": "", "epoch": 0, "reason": "unknown_type", "detail": "no agent knows it",
        "correlation_id": "corr", "headers": '{"task": "other", "x-loom-reason": "unknown_type"}',
        "deaths": "[]", "body": b'{"n": 1}', "fingerprint": "foreign", "content_type": "text/plain",
        "size": 8,
    }  # fmt: skip
    return DeadLetter(**(words | other))


def blocked(world: World, *, fingerprint: str = "f") -> Bead:
    """A bead whose task message died."""
    (task,) = _dispatched(world, world.bead())
    bead = world.control.get_bead(task.bead_id)
    world.ingester.record_dead_letters([letter(bead, fingerprint=fingerprint)])
    return world.control.get_bead(bead.id)


def _dispatched(world: World, bead: Bead) -> list[OutboxRow]:
    return [task for task in world.dispatch() if task.bead_id == bead.id]


def replays_owed(world: World, owner: str = "r") -> list[OutboxRow]:
    rows = world.dispatcher.lease_outbox(owner, 1000)
    return [row for row in rows if row.kind is OutboxKind.REPLAY]


def only_letter(world: World, **where: Any) -> DeadLetter:
    (found,) = world.control.list_dead_letters(**where).items
    return found


# Cancelling a bead.


def test_a_cancelled_bead_that_was_queued_never_starts(world: World) -> None:
    world.project()
    bead = world.bead()
    world.dispatch()
    cancelled = world.control.cancel_bead(bead.id, BY)
    assert (cancelled.state, cancelled.resolution) == (State.CLOSED, Resolution.CANCELLED)
    assert cancelled.reason == "cancelled by ada: the tests were wrong"
    assert world.claim(bead).verdict is ClaimVerdict.STALE


def test_a_cancelled_bead_is_owed_to_nobody(world: World) -> None:
    world.project()
    bead = world.bead()
    world.control.cancel_bead(bead.id, BY)
    assert world.tasks() == []


def test_a_cancelled_attempt_loses_its_lease_and_its_result_changes_nothing(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    world.control.cancel_bead(bead.id, BY)
    with pytest.raises(Stale):
        world.agents["alpha"].renew_lease(bead.id, 1, AGENT)
    assert world.report(said(bead, PROVEN)) == [ResultVerdict.STALE]
    (attempt,) = world.control.list_attempts(bead.id)
    assert attempt.outcome == "cancelled"
    assert "the tests were wrong" in attempt.reason
    assert world.control.get_bead(bead.id).resolution is Resolution.CANCELLED


def test_a_bead_is_cancelled_once_however_often_it_is_asked(world: World) -> None:
    world.project()
    bead = world.bead()
    first = world.control.cancel_bead(bead.id, BY)
    again = world.control.cancel_bead(bead.id, Intervention("bob", "me too"))
    assert again == first
    assert len(world.control.list_audit(target=bead.id).items) == 1


def test_a_bead_that_ended_otherwise_cannot_be_cancelled(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    world.report(said(bead, PROVEN))
    with pytest.raises(IllegalTransition):
        world.control.cancel_bead(bead.id, BY)
    with pytest.raises(NotFound):
        world.control.cancel_bead("bd-nowhere", BY)


def test_whoever_intervenes_has_to_say_why(world: World) -> None:
    world.project()
    bead = world.bead()
    for by in (Intervention("ada", " "), Intervention("ada", "x\0"), Intervention("a" * 300, "x")):
        with pytest.raises(Invalid):
            world.control.cancel_bead(bead.id, by)
    assert world.control.get_bead(bead.id).state is State.OPEN


# Unblocking a bead.


def test_an_unblocked_bead_is_owed_again_and_its_letters_are_dealt_with(world: World) -> None:
    world.project()
    bead = blocked(world)
    freed = world.control.unblock_bead(bead.id, BY)
    assert freed.state is State.OPEN
    (task,) = world.dispatch()
    assert (task.bead_id, task.epoch) == (bead.id, 1)
    kept = only_letter(world)
    assert (kept.state, kept.settled_by, kept.note) == (LetterState.REPLAYED, "ada", BY.reason)
    assert kept.settled_at is not None
    assert world.claim(bead).verdict is ClaimVerdict.GRANTED


def test_a_bead_that_waits_already_is_unblocked_without_a_change(world: World) -> None:
    world.project()
    bead = blocked(world)
    first = world.control.unblock_bead(bead.id, BY)
    assert world.control.unblock_bead(bead.id, BY) == first
    assert len(world.dispatch()) == 1


def test_a_closed_bead_is_never_unblocked(world: World) -> None:
    world.project()
    bead = world.bead()
    world.control.cancel_bead(bead.id, BY)
    with pytest.raises(IllegalTransition, match="never moves again"):
        world.control.unblock_bead(bead.id, BY)


# A refused result reaches its bead.


def test_a_refused_result_of_the_running_attempt_blocks_its_bead(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    refused = letter(bead, queue=RESULTS_QUEUE, reason="unproven", detail="no step was run")
    assert world.ingester.record_dead_letters([refused]) == (1, 1)
    now = world.control.get_bead(bead.id)
    assert now.state is State.BLOCKED
    assert "unproven: no step was run" in now.reason
    (attempt,) = world.control.list_attempts(bead.id)
    assert attempt.outcome == "failed"
    with pytest.raises(Stale):
        world.agents["alpha"].renew_lease(bead.id, 1, AGENT)


def test_a_refused_result_of_an_older_attempt_blocks_nothing(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    world.claim(bead, redelivered=True)
    refused = letter(bead, queue=RESULTS_QUEUE)
    assert world.ingester.record_dead_letters([refused]) == (1, 0)
    assert world.control.get_bead(bead.id).state is State.IN_PROGRESS


def test_a_refused_result_that_names_another_project_blocks_nothing(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    refused = letter(bead, queue=RESULTS_QUEUE, project_id="beta")
    assert world.ingester.record_dead_letters([refused]) == (1, 0)


def test_a_bead_blocked_by_its_refused_result_is_run_again_by_the_letters_replay(
    world: World,
) -> None:
    world.project()
    bead = world.bead()
    world.dispatch()
    world.claim(bead)
    world.ingester.record_dead_letters([letter(bead, queue=RESULTS_QUEUE)])
    world.control.replay_dead_letter(only_letter(world).id, BY)
    assert world.control.get_bead(bead.id).state is State.OPEN
    assert [task.epoch for task in world.dispatch()] == [2]


# One dead letter.


def test_a_letter_is_shown_whole_and_listed_short(world: World) -> None:
    world.project()
    body = b"x" * (MAX_LISTED_BYTES + 1)
    world.ingester.record_dead_letters([foreign(body=body, size=len(body))])
    listed = only_letter(world)
    assert (len(listed.body), listed.size, listed.cut) == (MAX_LISTED_BYTES, len(body), False)
    shown = world.control.get_dead_letter(listed.id)
    assert shown.body == body
    assert (shown.state, shown.content_type) == (LetterState.OPEN, "text/plain")
    with pytest.raises(NotFound):
        world.control.get_dead_letter(listed.id + 1)


def test_letters_are_listed_by_state_and_group(world: World) -> None:
    world.project()
    world.ingester.record_dead_letters([foreign(1), foreign(2, fingerprint="other")])
    world.control.discard_dead_letter(only_letter(world, fingerprint="foreign").id, BY)
    assert only_letter(world, state="open").message_id == "foreign-2"
    assert only_letter(world, state="discarded").message_id == "foreign-1"
    with pytest.raises(Invalid):
        world.control.list_dead_letters(state="lost")


def test_a_replayed_letter_unblocks_its_bead_and_is_not_replayed_twice(world: World) -> None:
    world.project()
    bead = blocked(world)
    id_ = only_letter(world).id
    replayed = world.control.replay_dead_letter(id_, BY)
    assert (replayed.state, replayed.settled_by) == (LetterState.REPLAYED, "ada")
    assert world.control.get_bead(bead.id).state is State.OPEN
    with pytest.raises(IllegalTransition, match="replayed already"):
        world.control.replay_dead_letter(id_, BY)
    assert [task.bead_id for task in world.dispatch()] == [bead.id]


def test_a_foreign_letter_is_owed_to_the_queue_it_died_in_with_its_whole_body(
    world: World,
) -> None:
    world.project()
    body = bytes(range(256)) * 3_000
    world.ingester.record_dead_letters([foreign(body=body, size=len(body))])
    id_ = only_letter(world).id
    world.control.replay_dead_letter(id_, BY)
    (row,) = replays_owed(world)
    assert row.body == body
    assert row.payload["queue"] == "loom.tasks.alpha"
    assert row.payload["headers"]["task"] == "other"
    assert row.payload["content_type"] == "text/plain"
    assert row.message_id != "foreign-1"
    assert world.dispatcher.settle_outbox("r", [row.id]) == (1, 0)
    assert replays_owed(world) == []


def test_a_letter_that_was_cut_is_not_replayed(world: World) -> None:
    world.project()
    world.ingester.record_dead_letters([foreign(size=2_000_000, cut=True)])
    with pytest.raises(IllegalTransition, match="2000000 bytes"):
        world.control.replay_dead_letter(only_letter(world).id, BY)
    assert only_letter(world).state is LetterState.OPEN


def test_a_letter_of_a_bead_that_moved_on_is_not_replayed(world: World) -> None:
    world.project()
    bead = world.bead()
    world.claim(bead)
    world.ingester.record_dead_letters([letter(bead)])
    with pytest.raises(IllegalTransition, match="discard"):
        world.control.replay_dead_letter(only_letter(world).id, BY)


def test_a_dry_run_of_a_replay_or_a_discard_changes_nothing(world: World) -> None:
    world.project()
    bead = blocked(world)
    id_ = only_letter(world).id
    world.control.replay_dead_letter(id_, BY, dry_run=True)
    world.control.discard_dead_letter(id_, BY, dry_run=True)
    assert world.control.replay_dead_letter_group("f", BY, dry_run=True).matching == 1
    assert world.control.discard_dead_letter_group("f", BY, dry_run=True) == (1, 0)
    assert only_letter(world).state is LetterState.OPEN
    assert world.control.get_bead(bead.id).state is State.BLOCKED
    assert [line.action for line in world.control.list_audit().items] == ["project.create"]


def test_a_discarded_letter_stays_discarded(world: World) -> None:
    world.project()
    world.ingester.record_dead_letters([foreign()])
    id_ = only_letter(world).id
    first = world.control.discard_dead_letter(id_, BY)
    assert first.state is LetterState.DISCARDED
    assert world.control.discard_dead_letter(id_, BY) == first
    with pytest.raises(IllegalTransition):
        world.control.replay_dead_letter(id_, BY)


def test_a_replayed_letter_cannot_be_discarded(world: World) -> None:
    world.project()
    world.ingester.record_dead_letters([foreign()])
    id_ = only_letter(world).id
    world.control.replay_dead_letter(id_, BY)
    with pytest.raises(IllegalTransition):
        world.control.discard_dead_letter(id_, BY)


def test_a_cancelled_beads_letters_are_discarded(world: World) -> None:
    world.project()
    bead = blocked(world)
    world.control.cancel_bead(bead.id, BY)
    assert only_letter(world).state is LetterState.DISCARDED


# Groups.


def test_letters_of_one_cause_are_one_group(world: World) -> None:
    world.project()
    world.ingester.record_dead_letters([foreign(1), foreign(2, fingerprint="x"), foreign(3)])
    world.control.discard_dead_letter(
        world.control.list_dead_letters(fingerprint="foreign").items[1].id, BY
    )
    newest, other = world.control.list_dead_letter_groups().items
    assert (newest.fingerprint, newest.count, newest.open) == ("foreign", 2, 1)
    assert newest.reason == "unknown_type"
    assert newest.first_at < newest.last_at
    assert world.control.get_dead_letter(newest.example_id).message_id == "foreign-3"
    assert other.fingerprint == "x"
    of_state = world.control.list_dead_letter_groups(state="discarded").items
    assert [group.fingerprint for group in of_state] == ["foreign"]
    assert world.control.list_dead_letter_groups("beta").items == ()


def test_groups_come_in_pages(world: World) -> None:
    world.project()
    world.ingester.record_dead_letters([foreign(n, fingerprint=f"g{n}") for n in range(5)])
    first = world.control.list_dead_letter_groups(page_size=3)
    second = world.control.list_dead_letter_groups(page_size=3, cursor=first.next_cursor)
    found = [group.fingerprint for group in first.items + second.items]
    assert found == ["g4", "g3", "g2", "g1", "g0"]
    assert second.next_cursor == ""


def test_a_group_is_discarded_at_once(world: World) -> None:
    world.project()
    world.ingester.record_dead_letters([foreign(1), foreign(2), foreign(3, fingerprint="x")])
    assert world.control.discard_dead_letter_group("foreign", BY) == (2, 2)
    assert world.control.discard_dead_letter_group("foreign", BY) == (0, 0)
    assert only_letter(world, state="open").fingerprint == "x"
    (line,) = world.control.list_audit(action="dead_letters.discard").items
    assert (line.target, line.detail["letters"]) == ("foreign", 2)


# Replays of groups.


def test_a_small_group_is_replayed_at_once(world: World) -> None:
    world.project()
    world.ingester.record_dead_letters([foreign(n) for n in range(5)])
    answer = world.control.replay_dead_letter_group("foreign", BY)
    assert answer.matching == 5
    assert answer.replay is not None
    assert (answer.replay.state, answer.replay.replayed) == (ReplayState.DONE, 5)
    assert len(replays_owed(world)) == 5
    assert world.control.list_replays("foreign").items == (answer.replay,)


def test_a_group_without_open_letters_has_nothing_to_replay(world: World) -> None:
    world.project()
    answer = world.control.replay_dead_letter_group("nothing", BY)
    assert (answer.matching, answer.replay) == (0, None)


def test_a_replay_keeps_to_its_rate(world: World) -> None:
    world.project()
    world.ingester.record_dead_letters([foreign(n) for n in range(10)])
    begun = world.control.replay_dead_letter_group("foreign", BY, rate_per_s=2)
    assert (begun.replay.state, begun.replay.replayed, begun.replay.left) == (
        ReplayState.RUNNING, 2, 8,
    )  # fmt: skip
    assert world.engine.advance_replays() == (0, 0, 0)
    world.advance(2)
    assert world.engine.advance_replays() == (4, 0, 0)
    world.advance(10)
    assert world.engine.advance_replays() == (4, 0, 1)
    (done,) = world.control.list_replays().items
    assert (done.state, done.replayed, done.left) == (ReplayState.DONE, 10, 0)
    assert done.ended_at is not None


def test_one_replay_of_a_group_runs_at_a_time(world: World) -> None:
    world.project()
    world.ingester.record_dead_letters([foreign(n) for n in range(10)])
    world.control.replay_dead_letter_group("foreign", BY, rate_per_s=1)
    with pytest.raises(Conflict):
        world.control.replay_dead_letter_group("foreign", BY)


@pytest.mark.parametrize("rate", [-1.0, 1_001.0, float("nan")])
def test_a_rate_out_of_bounds_is_invalid(world: World, rate: float) -> None:
    with pytest.raises(Invalid):
        world.control.replay_dead_letter_group("foreign", BY, rate_per_s=rate)


def test_a_canary_bead_goes_first_and_the_others_wait_until_it_is_claimed(world: World) -> None:
    world.project()
    beads = [blocked(world), blocked(world), blocked(world)]
    begun = world.control.replay_dead_letter_group("f", BY, canary=True)
    assert (begun.replay.state, begun.replay.replayed) == (ReplayState.CANARY, 1)
    world.advance(60)
    world.engine.advance_replays()
    assert [task.bead_id for task in world.dispatch()] == [beads[0].id]
    world.engine.advance_replays()
    assert world.control.get_bead(beads[1].id).state is State.BLOCKED
    world.claim(beads[0])
    assert world.engine.advance_replays() == (2, 0, 1)
    assert {task.bead_id for task in world.dispatch()} == {beads[1].id, beads[2].id}


def test_a_canary_bead_that_is_blocked_again_stops_the_replay(world: World) -> None:
    world.project()
    beads = [blocked(world), blocked(world)]
    world.control.replay_dead_letter_group("f", BY, canary=True)
    world.dispatch()
    world.ingester.record_dead_letters([letter(beads[0])])
    assert world.engine.advance_replays() == (0, 0, 1)
    (stopped,) = world.control.list_replays().items
    assert stopped.state is ReplayState.STOPPED
    assert "blocked again" in stopped.why
    assert world.control.get_bead(beads[1].id).state is State.BLOCKED


def test_a_canary_message_has_to_stay_alive_for_a_while(world: World) -> None:
    world.project()
    world.ingester.record_dead_letters([foreign(1), foreign(2)])
    world.control.replay_dead_letter_group("foreign", BY, canary=True)
    (row,) = replays_owed(world)
    world.advance(11)
    assert world.engine.advance_replays() == (0, 0, 0)
    world.dispatcher.settle_outbox("r", [row.id])
    assert world.engine.advance_replays() == (0, 0, 0)
    world.advance(11)
    assert world.engine.advance_replays() == (1, 0, 1)


def test_a_canary_message_that_dies_again_stops_the_replay(world: World) -> None:
    world.project()
    world.ingester.record_dead_letters([foreign(1), foreign(2)])
    world.control.replay_dead_letter_group("foreign", BY, canary=True)
    (row,) = replays_owed(world)
    world.dispatcher.settle_outbox("r", [row.id])
    world.ingester.record_dead_letters([foreign(message_id=row.message_id)])
    assert world.engine.advance_replays() == (0, 0, 1)
    (stopped,) = world.control.list_replays().items
    assert (stopped.state, stopped.why) == (ReplayState.STOPPED, "the canary died again")
    assert replays_owed(world) == []


def test_a_replay_stops_when_more_die_of_the_same_cause(world: World) -> None:
    world.project()
    world.ingester.record_dead_letters([foreign(n) for n in range(10)])
    world.control.replay_dead_letter_group("foreign", BY, rate_per_s=1)
    world.ingester.record_dead_letters([foreign(message_id=new_message_id())])
    world.advance(5)
    assert world.engine.advance_replays() == (0, 0, 1)
    assert world.control.list_replays().items[0].state is ReplayState.STOPPED


def test_a_forged_letter_is_never_replayed(world: World) -> None:
    world.project()
    world.ingester.record_dead_letters([foreign(1, reason=FORGED)])
    with pytest.raises(IllegalTransition, match="forged"):
        world.control.replay_dead_letter(only_letter(world).id, BY)
    assert only_letter(world).state is LetterState.OPEN
    world.control.discard_dead_letter(only_letter(world).id, BY)
    assert only_letter(world).state is LetterState.DISCARDED


def test_what_cannot_be_replayed_is_left_and_counted(world: World) -> None:
    world.project()
    world.ingester.record_dead_letters([foreign(1, cut=True, size=9), foreign(2)])
    answer = world.control.replay_dead_letter_group("foreign", BY, canary=True)
    assert (answer.replay.replayed, answer.replay.refused) == (1, 1)
    assert only_letter(world, state="open").message_id == "foreign-1"


# Copies on the broker.


def test_a_letters_copy_is_swept_once_it_is_dealt_with(world: World) -> None:
    world.project()
    world.ingester.record_dead_letters([foreign(1), foreign(2)])
    assert world.dispatcher.list_sweepable() == ()
    world.control.discard_dead_letter_group("foreign", BY)
    one, two = world.dispatcher.list_sweepable()
    assert (one.message_id, one.queue, one.project_id) == (
        "foreign-1", "loom.tasks.alpha", "alpha",
    )  # fmt: skip
    world.dispatcher.settle_swept([one.id], [two.id])
    assert [each.id for each in world.dispatcher.list_sweepable()] == [two.id]
    for _ in range(9):
        world.dispatcher.settle_swept([], [two.id])
    assert world.dispatcher.list_sweepable() == ()


# The audit trail.


def test_the_audit_says_who_did_what_to_what_and_why(world: World) -> None:
    world.project()
    bead = blocked(world)
    world.control.replay_dead_letter(only_letter(world).id, BY)
    world.control.cancel_bead(bead.id, Intervention("bob", "no use", "other"))
    newest, before, _made = world.control.list_audit().items
    assert (newest.actor, newest.action, newest.target, newest.reason, newest.correlation_id) == (
        "bob", "bead.cancel", bead.id, "no use", "other",
    )  # fmt: skip
    assert newest.detail == {"was": "open"}
    assert (before.actor, before.action) == ("ada", "dead_letter.replay")
    assert before.detail["bead_id"] == bead.id
    assert before.at < newest.at


def test_the_audit_comes_in_pages_and_by_target(world: World) -> None:
    world.project()
    beads = [world.bead() for _ in range(5)]
    for bead in beads:
        world.control.cancel_bead(bead.id, BY)
    action = "bead.cancel"
    first = world.control.list_audit(action=action, page_size=3)
    second = world.control.list_audit(action=action, page_size=3, cursor=first.next_cursor)
    assert [line.target for line in first.items + second.items] == [b.id for b in reversed(beads)]
    assert second.next_cursor == ""
    assert len(world.control.list_audit(target=beads[0].id, action="bead.cancel").items) == 1
    for action, count in (("bead.*", 5), ("user.*,bead.cancel", 5), ("bead.*,project.create", 6)):
        assert len(world.control.list_audit(action=action).items) == count, action
    for action in ("user.*", "bead.cance", "b_ad.*", "bead.", "*"):
        assert world.control.list_audit(action=action).items == (), action
