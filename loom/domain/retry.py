"""Whether a failed attempt is followed by another: a decision returned as a value."""

from __future__ import annotations

from dataclasses import dataclass

from loom.domain.evidence import FailureClass
from loom.domain.lifecycle import Move

BUDGET = {
    FailureClass.WORK: 1,
    FailureClass.NO_TESTS: 1,
    FailureClass.TIMEOUT: 1,
    FailureClass.INFRA: 5,
}
"""How many attempts a bead gets in all when they end in failures of this class."""

BASE_S = 1.0
CAP_S = 300.0


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a bead after a failure; delay_s is set for a retry alone."""

    move: Move
    delay_s: float = 0.0
    reason: str = ""


def backoff_s(attempts: int, jitter: float) -> float:
    """Seconds before the next attempt: exponential, capped, with full jitter (0 <= jitter < 1).

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return float(jitter * min(CAP_S, BASE_S * 2**attempts))


def budget_of(failure_class: FailureClass, max_attempts: int = 0) -> int:
    """How many attempts a bead gets in all when they end in failures of this class.

    max_attempts: the bead's or its project's limit; it takes the place of the budget of every
    class that is tried again at all. 0: none.
    """
    budget = BUDGET[failure_class]
    return max_attempts if max_attempts and budget > 1 else budget


def after_failure(
    failure_class: FailureClass, attempts: int, reason: str, jitter: float, max_attempts: int = 0
) -> Decision:
    """Decide after the attempts-th attempt failed; jitter is a random number in [0, 1).

    max_attempts: the bead's or its project's limit; 0: none.
    """
    budget = budget_of(failure_class, max_attempts)
    if failure_class in (FailureClass.WORK, FailureClass.NO_TESTS) or (
        failure_class is FailureClass.TIMEOUT and attempts >= budget
    ):
        return Decision(Move.FAIL, reason=reason)
    if attempts < budget:
        return Decision(Move.RETRY, delay_s=backoff_s(attempts, jitter), reason=reason)
    return Decision(
        Move.BLOCK,
        reason=f"{attempts} attempts ended in {failure_class.value} failures, the last: {reason}. "
        "Mend the cause, then unblock the bead.",
    )
