"""When outbox rows are looked for: at once, after others have gathered, or by the clock."""

from __future__ import annotations

import time
from typing import Any

import pytest

from loom.database import wakeups
from loom.database.wakeups import Wakeups


@pytest.fixture
def waking(monkeypatch: pytest.MonkeyPatch) -> Wakeups:
    """Wake-ups of one service, with nothing due: times so long that no test sees them pass."""
    monkeypatch.setattr(wakeups, "GATHER_S", 1_000.0)
    monkeypatch.setattr(wakeups, "POLL_S", 2_000.0)
    unused: Any = None
    made = Wakeups(unused, unused, 1)
    assert is_due(made), "whatever was owed before the start is looked for first"
    return made


def is_due(waking: Wakeups) -> bool:
    return waking.await_turn(time.monotonic())


def test_nothing_is_looked_for_twice(waking: Wakeups) -> None:
    assert not is_due(waking)


def test_what_somebody_waits_for_is_looked_for_at_once_and_once(waking: Wakeups) -> None:
    waking.tell()
    assert is_due(waking)
    assert not is_due(waking)


def test_what_is_gathered_is_not_looked_for_before_its_time(
    waking: Wakeups, monkeypatch: pytest.MonkeyPatch
) -> None:
    waking.tell(gathered=True)
    assert not is_due(waking)
    monkeypatch.setattr(wakeups, "GATHER_S", 0.0)
    waking.tell(gathered=True)
    assert is_due(waking)


def test_what_is_gathered_goes_with_what_is_looked_for_at_once(waking: Wakeups) -> None:
    waking.tell(gathered=True)
    waking.tell()
    waking.tell(gathered=True)
    assert is_due(waking)


def test_who_found_as_much_as_it_could_take_looks_again_at_once(waking: Wakeups) -> None:
    waking.expect_more(gathered=True)
    assert not is_due(waking)
    waking.expect_more(gathered=False)
    assert is_due(waking)


def test_a_service_that_stops_lets_nobody_wait(waking: Wakeups) -> None:
    waking.tell()
    waking.stop()
    assert not waking.await_turn(time.monotonic() + 1_000.0)


def test_every_teller_is_counted(waking: Wakeups) -> None:
    before = waking.count
    waking.tell()
    waking.tell(gathered=True)
    assert waking.count == before + 2
