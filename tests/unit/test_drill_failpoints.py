"""Failpoints and guards: nothing at all, unless a drill on a scratch stack asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loom.errors import Invalid
from loom.settings import DrillSettings
from loom.telemetry import failpoints
from loom.telemetry.failpoints import arm, failpoint, unguarded


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """No test leaves anything armed behind."""
    yield
    arm(DrillSettings(failpoints="", unguarded="", scratch=False))


def test_a_place_that_nobody_armed_does_nothing() -> None:
    failpoint("ingester.recorded")

    assert not unguarded("fence")


def test_without_a_scratch_stack_the_process_does_not_start() -> None:
    for settings in (
        DrillSettings(failpoints="ingester.recorded=kill@1"),
        DrillSettings(unguarded="fence"),
    ):
        with pytest.raises(Invalid, match="LOOM_DRILL_SCRATCH"):
            arm(settings)
    assert not unguarded("fence")


@pytest.mark.parametrize("text", ["ingester.recorded", "a=explode@1", "a=kill@x", "=kill@1"])
def test_what_is_no_failpoint_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="no failpoint"):
        arm(DrillSettings(scratch=True, failpoints=text))


def test_a_guard_that_does_not_exist_is_refused() -> None:
    with pytest.raises(Invalid, match="no guard"):
        arm(DrillSettings(scratch=True, unguarded="gravity"))


def test_guards_are_off_by_name() -> None:
    arm(DrillSettings(scratch=True, unguarded="fence, inbox"))

    assert {guard for guard in failpoints.GUARDS if unguarded(guard)} == {"fence", "inbox"}
