"""What the end of a command is blamed on, and what a person is told to do about it."""

from __future__ import annotations

import pytest

from loom.domain.evidence import FailureClass
from workers.blame import advice, blame
from workers.command import Ended


@pytest.mark.parametrize(
    "words",
    [
        "/usr/bin/python3: No module named pytest",
        "ModuleNotFoundError: No module named 'numpy'",
        "Error: Cannot find module 'left-pad'",
    ],
)
def test_a_dependency_that_nothing_may_fetch_comes_with_what_to_do(words: str) -> None:
    found = blame("pytest", Ended(1, 0.1, f"collecting\n{words}\n"), 10.0, None)

    assert found
    failure_class, reason = found
    assert (failure_class, reason) == (
        FailureClass.WORK,
        f"the pytest command ended with exit code 1: {words}",
    )
    assert "`loom project set mylib --network prepare`" in advice(reason, "mylib")


def test_another_failure_comes_without_advice() -> None:
    found = blame("pytest", Ended(1, 0.1, "assert 1 == 2"), 10.0, None)

    assert found
    assert advice(found[1], "mylib") == ""
