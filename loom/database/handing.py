"""Whether a bead may be given to a person, decided on values."""

from __future__ import annotations

from dataclasses import dataclass

from loom.database.changes import Event
from loom.domain.audit import Intervention
from loom.domain.bead import Bead
from loom.domain.lifecycle import State
from loom.errors import IllegalTransition, Invalid

MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class Handed:
    """What giving it changes. action: as the trail calls it; event: what is told."""

    assignee: str
    action: str
    event: Event


def check_name(assignee: str) -> str:
    """The name; raises Invalid unless it can stand for somebody."""
    if len(assignee) > MAX_NAME or not assignee.isprintable() or assignee != assignee.strip():
        raise Invalid(
            f"assignee is a name of at most {MAX_NAME} printable characters", field="assignee"
        )
    return assignee


def hand(bead: Bead, assignee: str, by: Intervention) -> Handed | None:
    """Give the bead to somebody, or back to the agents; None if they have it.

    A person holds a bead without a lease: it stays open, so that `in_progress` always means that
    an attempt runs. Raises IllegalTransition for one that runs, ended, or is somebody else's.
    """
    if bead.assignee == assignee:
        return None
    if assignee and bead.state not in (State.OPEN, State.BLOCKED):
        what_next = (
            "an attempt is under way: cancel it, or wait for its end"
            if bead.state is State.IN_PROGRESS
            else "a closed bead never moves again"
        )
        raise IllegalTransition(
            f"bead {bead.id} is {bead.state.value}, and nobody can take it by hand: {what_next}",
            bead_id=bead.id,
            state=bead.state.value,
        )
    if assignee and bead.assignee:
        raise IllegalTransition(
            f"{bead.assignee} has taken bead {bead.id}: `loom bead release {bead.id}` first",
            bead_id=bead.id,
            assignee=bead.assignee,
        )
    verb = "assigned" if assignee else "released"
    data = {"by": by.actor, "assignee": assignee or bead.assignee, "version": bead.version + 1}
    event = Event(
        f"bead.{verb}", bead.project_id, bead.id, bead.epoch, data, bead.correlation_id,
        by.traceparent,
    )  # fmt: skip
    return Handed(assignee, "bead.claim" if assignee else "bead.release", event)
