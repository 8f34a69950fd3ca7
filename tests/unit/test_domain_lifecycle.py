"""The lifecycle table: what may happen to a bead, and what may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom.domain.lifecycle import TRANSITIONS, Move, Resolution, State, move
from loom.errors import IllegalTransition


def test_the_happy_trip_is_open_in_progress_closed_succeeded():
    state, resolution = move("bd-1", State.OPEN, Move.CLAIM)
    assert (state, resolution) == (State.IN_PROGRESS, None)
    assert move("bd-1", state, Move.SUCCEED) == (State.CLOSED, Resolution.SUCCEEDED)


@pytest.mark.parametrize("by", list(Move))
def test_a_closed_bead_never_moves_again(by):
    with pytest.raises(IllegalTransition, match="a closed bead stays closed"):
        move("bd-1", State.CLOSED, by)


@pytest.mark.parametrize("by", [Move.SUCCEED, Move.FAIL, Move.RETRY])
def test_only_a_claimed_bead_can_end_by_its_work(by):
    for state in (State.OPEN, State.BLOCKED):
        with pytest.raises(IllegalTransition):
            move("bd-1", state, by)


def test_a_refusal_names_the_bead_its_state_and_the_moves_it_has():
    with pytest.raises(IllegalTransition) as refusal:
        move("bd-7", State.BLOCKED, Move.CLAIM)
    assert refusal.value.data == {"bead_id": "bd-7", "state": "blocked", "move": "claim"}
    assert "it can cancel, record, unblock" in refusal.value.detail


def test_a_resolution_comes_with_closed_and_with_nothing_else():
    for (_, by), (state, resolution) in TRANSITIONS.items():
        assert (state is State.CLOSED) == (resolution is not None), by


@given(st.lists(st.sampled_from(list(Move)), max_size=30))
def test_whatever_happens_a_bead_closes_at_most_once(moves):
    state, closings = State.OPEN, 0
    for by in moves:
        try:
            state, resolution = move("bd-1", state, by)
        except IllegalTransition:
            continue
        closings += resolution is not None
    assert closings <= 1
