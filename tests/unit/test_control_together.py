"""An answer for many at once: one fetch, and never one that was begun before somebody asked."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from loom.control.together import Together

MANY = 20


class Question:
    """Always the same one, which tells that it is being asked."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def __hash__(self) -> int:
        self.asked.set()
        return 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Question)


def test_who_comes_while_an_answer_is_fetched_shares_the_next_one() -> None:
    together: Together[int] = Together(8)
    numbers = itertools.count(1)
    fetching, go_on = threading.Event(), threading.Event()

    def slow() -> int:
        fetching.set()
        assert go_on.wait(30)
        return next(numbers)

    with ThreadPoolExecutor(MANY + 1) as many:
        first = many.submit(together.get, Question(), slow)
        assert fetching.wait(30)
        questions = [Question() for _ in range(MANY)]
        rest = [many.submit(together.get, each, lambda: next(numbers)) for each in questions]
        for each in questions:
            assert each.asked.wait(30)
        assert together.get("another board", lambda: 0) == 0, "nobody waits for another question"
        go_on.set()
        assert first.result() == 1
        answers = {each.result() for each in rest}
    assert min(answers) >= 2, "nobody got what was begun before they asked"
    assert len(answers) < MANY


def test_who_asks_later_gets_what_is_fetched_later() -> None:
    together: Together[int] = Together(8)
    numbers = itertools.count(1)
    assert [together.get("board", lambda: next(numbers)) for _ in range(3)] == [1, 2, 3]


def test_a_failure_is_told_to_who_fetched_alone() -> None:
    together: Together[int] = Together(8)
    with pytest.raises(ZeroDivisionError):
        together.get("board", lambda: 1 // 0)
    assert together.get("board", lambda: 7) == 7


def test_no_more_answers_are_kept_than_may_be() -> None:
    together: Together[int] = Together(2)
    for number in range(9):
        together.get(number, lambda: 0)
    assert list(together._answers) == [7, 8]
