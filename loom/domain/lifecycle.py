"""The states of a bead and the one table of legal moves between them."""

from __future__ import annotations

from enum import StrEnum

from loom.errors import IllegalTransition


class State(StrEnum):
    """Where a bead is."""

    OPEN = "open"
    IN_PROGRESS = "in_progress"
    BLOCKED = "blocked"
    CLOSED = "closed"


class Resolution(StrEnum):
    """How a closed bead ended; succeeded means every step of its recipe left evidence.

    Recorded: it ended elsewhere, and an import tells of it; nothing of it is proven here.
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RECORDED = "recorded"


class Move(StrEnum):
    """What happens to a bead."""

    CLAIM = "claim"
    """An agent took it under a lease."""
    SUCCEED = "succeed"
    """Its result proved it."""
    FAIL = "fail"
    """Its work failed and will not be tried again."""
    RETRY = "retry"
    """Its attempt ended without an answer and another is owed."""
    BLOCK = "block"
    """It cannot go on until a person acts; the reason is recorded."""
    UNBLOCK = "unblock"
    """A person dealt with the reason."""
    CANCEL = "cancel"
    """A person gave it up."""
    RECORD = "record"
    """It ended elsewhere, before anybody began it here."""


TRANSITIONS: dict[tuple[State, Move], tuple[State, Resolution | None]] = {
    (State.OPEN, Move.CLAIM): (State.IN_PROGRESS, None),
    (State.OPEN, Move.BLOCK): (State.BLOCKED, None),
    (State.OPEN, Move.CANCEL): (State.CLOSED, Resolution.CANCELLED),
    (State.OPEN, Move.RECORD): (State.CLOSED, Resolution.RECORDED),
    # A broker's redelivery proves that the former holder lost the message: it is taken over.
    (State.IN_PROGRESS, Move.CLAIM): (State.IN_PROGRESS, None),
    (State.IN_PROGRESS, Move.SUCCEED): (State.CLOSED, Resolution.SUCCEEDED),
    (State.IN_PROGRESS, Move.FAIL): (State.CLOSED, Resolution.FAILED),
    (State.IN_PROGRESS, Move.RETRY): (State.OPEN, None),
    (State.IN_PROGRESS, Move.BLOCK): (State.BLOCKED, None),
    (State.IN_PROGRESS, Move.CANCEL): (State.CLOSED, Resolution.CANCELLED),
    (State.BLOCKED, Move.UNBLOCK): (State.OPEN, None),
    (State.BLOCKED, Move.CANCEL): (State.CLOSED, Resolution.CANCELLED),
    (State.BLOCKED, Move.RECORD): (State.CLOSED, Resolution.RECORDED),
}
"""Every legal move; a closed bead never moves again."""


def lets_go(resolution: Resolution | None) -> bool:
    """Whether beads that wait for one that ended so may start."""
    return resolution in {Resolution.SUCCEEDED, Resolution.RECORDED}


def move(bead_id: str, state: State, by: Move) -> tuple[State, Resolution | None]:
    """The state and resolution after the move; raises IllegalTransition if it is not legal."""
    try:
        return TRANSITIONS[state, by]
    except KeyError:
        legal = sorted(m.value for s, m in TRANSITIONS if s is state)
        raise IllegalTransition(
            f"bead {bead_id} is {state.value}: it cannot {by.value}; "
            + (f"it can {', '.join(legal)}" if legal else "a closed bead stays closed"),
            bead_id=bead_id,
            state=state.value,
            move=by.value,
        ) from None
