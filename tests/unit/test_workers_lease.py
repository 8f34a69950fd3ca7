"""A lease: renewed while the work goes on, and the end of the work when it is lost."""

from __future__ import annotations

import threading
import time

import pytest

from loom.errors import Stale, Unavailable
from workers.lease import Lease, LeaseLost

PATIENCE_S = 10.0


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renew without a pause to speak of, and ask again without any."""
    monkeypatch.setattr("workers.lease.LONGEST_PAUSE_S", 0.001)
    monkeypatch.setattr("workers.lease.RETRY_S", 0.0)


def test_a_lease_is_renewed_long_before_its_end(brisk: None) -> None:
    renewed = threading.Semaphore(0)

    def renew() -> float:
        renewed.release()
        return 60.0

    with Lease(renew, 60.0, time.monotonic(), lambda: None) as lease:
        for _ in range(5):
            assert renewed.acquire(timeout=PATIENCE_S)
        lease.check()


def test_a_lease_that_the_ledger_gave_to_another_is_lost_at_once(brisk: None) -> None:
    lost = threading.Event()

    def renew() -> float:
        raise Stale("epoch 2 holds it")

    with Lease(renew, 0.3, time.monotonic(), lost.set) as lease:
        assert lost.wait(PATIENCE_S)
        with pytest.raises(LeaseLost, match="epoch 2 holds it"):
            lease.check()


def test_a_lease_that_cannot_be_renewed_is_lost_before_its_end() -> None:
    lost = threading.Event()

    def renew() -> float:
        raise Unavailable("the ledger is away")

    began = time.monotonic()
    with Lease(renew, 0.05, began, lost.set) as lease:
        assert lost.wait(PATIENCE_S)
        assert lease.lost


def test_a_renewal_that_hangs_does_not_keep_a_lease_alive() -> None:
    lost, go_on = threading.Event(), threading.Event()

    def renew() -> float:
        go_on.wait(PATIENCE_S)
        return 60.0

    with Lease(renew, 0.05, time.monotonic(), lost.set) as lease:
        assert lost.wait(PATIENCE_S)
        go_on.set()
        assert lease.lost


def test_a_ledger_that_comes_back_in_time_is_no_loss(brisk: None) -> None:
    answers = threading.Semaphore(0)
    failures = iter([True, True])

    def renew() -> float:
        if next(failures, False):
            raise Unavailable("the ledger is away")
        answers.release()
        return 60.0

    with Lease(renew, 6.0, time.monotonic() - 0.5, lambda: None) as lease:
        lease.fence()
        lease.fence()
        lease.fence()
        assert answers.acquire(timeout=PATIENCE_S)
        assert not lease.lost


def test_the_end_is_reckoned_from_before_the_claim_was_asked_for() -> None:
    lost = threading.Event()
    with Lease(lambda: 60.0, 30.0, time.monotonic() - 30.0, lost.set):
        assert lost.wait(PATIENCE_S)


def test_a_lease_that_is_done_with_is_not_lost_afterwards() -> None:
    lost = threading.Event()

    def renew() -> float:
        raise Stale("ended")

    with Lease(renew, 60.0, time.monotonic(), lost.set) as lease:
        pass
    lease._renew_once()
    assert not lost.is_set()


def test_waiting_ends_with_the_lease() -> None:
    def renew() -> float:
        raise Stale("taken over")

    with Lease(renew, 0.03, time.monotonic(), lambda: None) as lease, pytest.raises(LeaseLost):
        lease.pause(PATIENCE_S * 10)


def test_a_process_that_stood_still_past_the_end_may_do_nothing_more() -> None:
    lost = threading.Event()
    lease = Lease(lambda: 60.0, 30.0, time.monotonic() - 60.0, lost.set)
    with pytest.raises(LeaseLost, match="before its end"):
        lease.check()
    assert lost.is_set()


def test_a_step_that_others_see_waits_for_the_ledgers_own_yes(brisk: None) -> None:
    answers = iter([Unavailable("away"), Unavailable("away"), 60.0])

    def renew() -> float:
        answer = next(answers)
        if isinstance(answer, float):
            return answer
        raise answer

    lease = Lease(renew, 60.0, time.monotonic(), lambda: None)
    lease.fence()
    assert next(answers, None) is None


@pytest.mark.parametrize(("lease_s", "pause_s"), [(3.0, 1.0), (600.0, 2.0)])
def test_a_lease_is_renewed_every_third_of_it_and_a_long_one_every_two_seconds(
    lease_s: float, pause_s: float
) -> None:
    lease = Lease(lambda: 60.0, lease_s, time.monotonic(), lambda: None)
    assert lease._pause_s == pause_s
