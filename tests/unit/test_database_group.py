"""Calls that are done together: who does them, and what each of them hears."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from loom.database.group import Group

LONG_S = 30.0


class Doing:
    """Doubles numbers, and leaves odd ones to whoever asks; the first time it can be held up."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.together: list[list[int]] = []

    def __call__(self, asked: Sequence[int]) -> list[int | None]:
        self.together.append(list(asked))
        if 0 in asked:
            self.begun.set()
            assert self.go_on.wait(LONG_S)
        if 13 in asked:
            raise ValueError("thirteen")
        return [number * 2 if number % 2 == 0 else None for number in asked]


class Held:
    """A group whose first call is held up, and calls that come meanwhile."""

    def __init__(self, most: int = 10) -> None:
        self.do = Doing()
        self.group: Group[int, int] = Group(self.do, most=most)
        self._threads = ThreadPoolExecutor(20)
        self.first = self._threads.submit(self.group.ask, 0, LONG_S)
        assert self.do.begun.wait(LONG_S)

    def ask(self, number: int) -> Future[int | None]:
        """Ask from a thread of its own; returns once it stands in the line."""
        before = self.group.waiting
        asked = self._threads.submit(self.group.ask, number, LONG_S)
        while self.group.waiting == before:
            threading.Event().wait(0.001)
        return asked


def test_who_comes_alone_is_answered_at_once() -> None:
    do = Doing()
    group: Group[int, int] = Group(do, most=10)
    assert group.ask(2, LONG_S) == 4
    assert group.ask(4, LONG_S) == 8
    assert do.together == [[2], [4]]


def test_who_comes_while_others_are_done_is_done_next_and_together() -> None:
    held = Held()
    asked = [held.ask(number) for number in (2, 4, 6)]
    assert held.do.together == [[0]]
    held.do.go_on.set()
    assert [each.result() for each in asked] == [4, 8, 12]
    assert held.first.result() == 0
    assert held.do.together == [[0], [2, 4, 6]]


def test_no_more_are_done_at_once_than_may_be() -> None:
    held = Held(most=2)
    asked = [held.ask(number) for number in (2, 4, 6, 8, 10)]
    held.do.go_on.set()
    assert [each.result() for each in asked] == [4, 8, 12, 16, 20]
    assert held.do.together == [[0], [2, 4], [6, 8], [10]]


def test_what_has_no_answer_is_left_to_who_asked_and_to_nobody_else() -> None:
    held = Held()
    asked = [held.ask(number) for number in (2, 3, 4)]
    held.do.go_on.set()
    assert [each.result() for each in asked] == [4, None, 8]


def test_a_fault_leaves_all_of_them_to_who_asked_and_the_next_are_done_as_ever() -> None:
    held = Held()
    asked = [held.ask(number) for number in (2, 13, 4)]
    held.do.go_on.set()
    assert [each.result() for each in asked] == [None, None, None]
    assert held.group.ask(6, LONG_S) == 12


def test_who_waited_for_too_long_is_told_so_and_not_done() -> None:
    held = Held()
    assert held.group.ask(2, 0.0) is None
    later = held.ask(4)
    held.do.go_on.set()
    assert later.result() == 8
    assert held.do.together == [[0], [4]]


@pytest.mark.parametrize("rounds", [50])
def test_however_many_come_each_is_done_once(rounds: int) -> None:
    do = Doing()
    group: Group[int, int] = Group(do, most=3)
    with ThreadPoolExecutor(8) as threads:
        numbers = [2 * n for n in range(1, rounds)]
        answers = list(threads.map(lambda n: group.ask(n, LONG_S), numbers))
    assert answers == [2 * n for n in numbers]
    assert sorted(n for asked in do.together for n in asked) == numbers
