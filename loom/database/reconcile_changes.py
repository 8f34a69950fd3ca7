"""What becomes of beads whose message the broker lost, and of beads that nobody would take up."""

from __future__ import annotations

from loom.database import decisions
from loom.database.changes import Changes, Event, Moved, Standing
from loom.domain.lifecycle import Move, State, move

LOST = "the broker lost its task message"
STUCK = "it was neither owed, dispatched nor running"


def reowed(bead: Standing, why: str) -> Changes:
    """Owe an open bead's task once more, for the same epoch: of two messages one is granted."""
    return Changes(owed=(decisions.owe(bead),), events=(_event(bead, bead.state, why),))


def reopened(bead: Standing) -> Changes:
    """Owe a stuck bead again; one in progress without an attempt is opened for it."""
    if bead.state is State.OPEN:
        return reowed(bead, STUCK)
    state, resolution = move(bead.id, bead.state, Move.RETRY)
    moved = Moved(
        bead.id, state, resolution, STUCK, bead.epoch, bead.attempts, bead.forgiven
    )  # fmt: skip
    return Changes(
        moved=(moved,),
        owed=(decisions.owe(bead),),
        events=(_event(bead, state, STUCK),),
    )


def _event(bead: Standing, state: State, why: str) -> Event:
    data = {"state": state.value, "epoch": bead.epoch, "reason": why}
    return Event(
        "bead.reowed", bead.project_id, bead.id, bead.epoch, data, bead.correlation_id,
        bead.traceparent,
    )  # fmt: skip
