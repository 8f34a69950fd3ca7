"""A failpoint kills the process that comes by it, once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from loom.settings import DrillSettings
from loom.telemetry.failpoints import arm, failpoint


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """No test leaves anything armed behind."""
    yield
    arm(DrillSettings(failpoints="", unguarded="", scratch=False))


def ended_by(times: int, place: str) -> int:
    """The signal that ended a child which came by the place so often; 0 if none did."""
    pid = os.fork()
    if pid == 0:
        for _ in range(times):
            failpoint(place)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_process_kills_itself_the_time_it_was_told() -> None:
    arm(DrillSettings(scratch=True, failpoints="here=kill@3"))

    assert ended_by(2, "elsewhere") == 0
    assert ended_by(2, "here") == 0
    assert ended_by(1, "here") == -signal.SIGKILL


def test_a_child_forked_later_does_not_die_of_it_again() -> None:
    arm(DrillSettings(scratch=True, failpoints="here=kill@1"))

    assert ended_by(1, "here") == -signal.SIGKILL
    assert ended_by(5, "here") == 0
