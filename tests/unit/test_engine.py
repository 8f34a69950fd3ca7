"""Timers, and what they do."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom.engine import leases
from loom.engine.timers import LONGEST_WAIT_S, Timer, keep, keep_all, pause_s
from loom.errors import Unavailable
from loom.testing.stopping import Unhurried


def stopping_at(wait):
    """An event that says stop at the given wait, without waiting."""
    stopping = Unhurried()

    def stop():
        if len(stopping.waits) >= wait:
            stopping.set()

    stopping.hook = stop
    return stopping


@given(st.floats(0.1, 60), st.integers(0, 1_000), st.floats(0, 1, exclude_max=True))
def test_a_pause_is_near_its_period_and_grows_to_a_limit(period_s, failures, jitter):
    pause = pause_s(period_s, failures, jitter)
    assert 0.75 * period_s <= pause <= 1.25 * max(period_s, LONGEST_WAIT_S)
    assert pause_s(period_s, failures + 1, jitter) >= pause


def test_a_timer_works_once_a_period():
    turns, done = stopping_at(3), []
    keep(Timer("t", 10.0, lambda: bool(done.append(1))), turns)
    assert len(done) == 3
    assert all(7.5 <= wait <= 12.5 for wait in turns.waits)


def test_a_timer_with_more_to_do_does_not_wait():
    turns, left = stopping_at(1), [True, True, True, False]
    keep(Timer("t", 10.0, lambda: left.pop(0)), turns)
    assert left == []
    assert len(turns.waits) == 1


@pytest.mark.parametrize("error", [Unavailable("away"), ZeroDivisionError("a bug")])
def test_a_failing_timer_goes_on_later_and_later(error):
    turns = stopping_at(4)

    def fail():
        raise error

    keep(Timer("t", 1.0, fail), turns)
    assert turns.waits == sorted(turns.waits)
    assert turns.waits[-1] > 10


def test_a_timer_that_works_again_is_back_to_its_period():
    turns = stopping_at(3)
    errors = [Unavailable("away"), Unavailable("away"), None]

    def work():
        error = errors.pop(0)
        if error:
            raise error
        return False

    keep(Timer("t", 1.0, work), turns)
    assert turns.waits[2] <= 1.25 < turns.waits[1]


def test_one_timer_fails_alone():
    stopping, worked = threading.Event(), []

    def fail():
        raise ZeroDivisionError("a bug")

    def work():
        worked.append(1)
        if len(worked) == 3:
            stopping.set()
        return True

    keep_all([Timer("bad", 0.01, fail), Timer("good", 0.01, work)], stopping)
    assert len(worked) == 3


class Expiring:
    """A ledger with so many leases that ran out."""

    def __init__(self, left):
        self.left = left

    def expire_leases(self, limit=500):
        lost = min(limit, self.left)
        self.left -= lost
        return lost, lost, 0


@pytest.mark.parametrize(("left", "more"), [(0, False), (499, False), (500, True), (1_200, True)])
def test_leases_are_expired_until_fewer_than_the_limit_are_left(left, more):
    ledger = Expiring(left)
    assert leases.expire(ledger) is more
    assert ledger.left == max(0, left - 500)
