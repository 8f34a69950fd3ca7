"""The circuit breaker: when it opens, whom it lets through, and that it serialises nobody."""

from __future__ import annotations

import threading

import pytest

from loom.clients.breaker import Breaker
from loom.errors import DeadlineExceeded, LoomError, NotFound, Unavailable

PATIENCE_S = 10.0


def fail(error: LoomError) -> None:
    raise error


def trip(breaker: Breaker, times: int = 3) -> None:
    for _ in range(times):
        with pytest.raises(Unavailable, match="gone"):
            breaker.call(lambda: fail(Unavailable("gone")))


def test_it_opens_after_so_many_failures_in_a_row_and_answers_at_once() -> None:
    breaker = Breaker("the ledger", failures=3, open_s=60.0)
    trip(breaker, 2)
    assert breaker.call(lambda: 7) == 7
    trip(breaker, 2)
    assert breaker.state == "closed"
    trip(breaker, 1)
    assert breaker.state == "open"
    with pytest.raises(Unavailable, match=r"left alone.* the last: gone") as refused:
        breaker.call(lambda: pytest.fail("nothing may be called"))
    assert refused.value.data == {"service": "the ledger", "breaker": "open"}


def test_an_answer_that_says_no_is_an_answer() -> None:
    breaker = Breaker("the ledger", failures=1)
    for _ in range(3):
        with pytest.raises(NotFound):
            breaker.call(lambda: fail(NotFound("no such bead")))
    assert breaker.state == "closed"


def test_no_answer_in_time_counts_too() -> None:
    breaker = Breaker("the ledger", failures=1, open_s=60.0)
    with pytest.raises(DeadlineExceeded):
        breaker.call(lambda: fail(DeadlineExceeded("late")))
    assert breaker.state == "open"


def test_one_call_tries_again_and_closes_it() -> None:
    breaker = Breaker("the ledger", failures=3, open_s=0.0)
    trip(breaker)
    with pytest.raises(Unavailable, match="gone"):
        breaker.call(lambda: fail(Unavailable("gone")))
    assert breaker.state == "open"
    assert breaker.call(lambda: "back") == "back"
    assert breaker.state == "closed"


def test_while_one_tries_the_others_are_told_at_once() -> None:
    breaker = Breaker("the ledger", failures=3, open_s=0.0)
    trip(breaker)
    trying, go_on = threading.Event(), threading.Event()

    def slow() -> str:
        trying.set()
        assert go_on.wait(PATIENCE_S)
        return "back"

    thread = threading.Thread(target=breaker.call, args=(slow,))
    thread.start()
    assert trying.wait(PATIENCE_S)
    with pytest.raises(Unavailable, match="left alone"):
        breaker.call(lambda: "not yet")
    go_on.set()
    thread.join(PATIENCE_S)
    assert breaker.call(lambda: "now") == "now"


def test_calls_do_not_wait_for_one_another() -> None:
    breaker = Breaker("the ledger")
    together = threading.Barrier(8, timeout=PATIENCE_S)
    threads = [threading.Thread(target=breaker.call, args=(together.wait,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert not together.broken


def test_failures_that_come_in_after_it_opened_change_nothing() -> None:
    breaker = Breaker("the ledger", failures=2, open_s=60.0)
    begun = threading.Barrier(5, timeout=PATIENCE_S)

    def late() -> None:
        begun.wait()
        raise Unavailable("gone")

    def call() -> None:
        with pytest.raises(Unavailable):
            breaker.call(late)

    threads = [threading.Thread(target=call) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert breaker.state == "open"
