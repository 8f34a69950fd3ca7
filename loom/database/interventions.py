"""What a person may do to a bead or a dead letter, decided on values.

The database service and its fake carry out the same decisions.
"""

from __future__ import annotations

from dataclasses import dataclass

from loom.database import decisions
from loom.database.changes import Changes, Standing
from loom.domain.audit import Intervention
from loom.domain.lifecycle import Resolution, State
from loom.domain.replay import CANARY_QUIET_S, LetterState
from loom.errors import IllegalTransition, Invalid
from loom.messaging.deadletter import DeadLetter, address_of
from loom.messaging.sender import FORGED
from loom.messaging.topology import RESULTS_QUEUE

NOTHING = Changes()


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay does: it changes the letter's bead, or publishes the message again.

    refused: why it does neither.
    """

    changes: Changes = NOTHING
    publish: bool = False
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Canary:
    """What became of a canary. state: well, waiting or failed."""

    state: str
    why: str = ""


def cancel(bead: Standing, resolution: Resolution | None, by: Intervention) -> Changes:
    """Give a bead up; nothing changes if it was. Raises IllegalTransition if it ended otherwise."""
    if resolution is Resolution.CANCELLED:
        return NOTHING
    return decisions.save(
        bead,
        decisions.Wish(
            bead.version, by.actor, State.CLOSED.value, Resolution.CANCELLED.value, _told(by)
        ),
    )


def unblock(bead: Standing, by: Intervention) -> Changes:
    """Let a blocked bead go on; nothing changes if it waits already. Raises IllegalTransition."""
    if bead.state is State.OPEN:
        return NOTHING
    if bead.state is not State.BLOCKED:
        what_next = (
            f"a closed bead never moves again: `loom bead refile {bead.id}` files its work anew"
            if bead.state is State.CLOSED
            else "an attempt is under way"
        )
        raise IllegalTransition(
            f"bead {bead.id} is {bead.state.value} and not blocked: {what_next}",
            bead_id=bead.id,
            state=bead.state.value,
        )
    return decisions.save(bead, decisions.Wish(bead.version, by.actor, State.OPEN.value))


def _told(by: Intervention) -> str:
    return f"cancelled by {by.actor}: {by.reason}"


def replay(letter: DeadLetter, bead: Standing | None, by: Intervention) -> Replayed:
    """Send a letter's bead, or a letter without one, on its way again, or say why not."""
    if letter.state is not LetterState.OPEN:
        return Replayed(refused=f"dead letter {letter.id} is {letter.state.value} already")
    if bead is not None and bead.project_id == letter.project_id:
        of_result = letter.queue == RESULTS_QUEUE
        behind = bead.epoch != (letter.epoch if of_result else letter.epoch - 1)
        if bead.state is State.BLOCKED and not behind:
            return Replayed(unblock(bead, by))
        if not of_result:
            return Replayed(
                refused=f"bead {bead.id} is {bead.state.value} at epoch {bead.epoch}, and has no "
                f"use for the message of epoch {letter.epoch}: discard the letter"
            )
    unfit = _why_unfit(letter)
    return Replayed(publish=not unfit, refused=unfit)


def _why_unfit(letter: DeadLetter) -> str:
    """Why a letter's message cannot be sent again; empty if it can."""
    if letter.reason == FORGED:
        return (
            f"dead letter {letter.id} was forged ({letter.detail}), and might be believed if Loom "
            "itself sent it: discard it"
        )
    try:
        address_of(letter.queue, letter.project_id)
    except Invalid as error:
        return error.detail
    if letter.cut:
        return (
            f"the ledger has not kept all {letter.size} bytes of dead letter {letter.id}, "
            "and a cut message is not sent again: move the copy on the broker by hand, or discard "
            "the letter"
        )
    return ""


def canary(
    bead: Standing | None, owed_epoch: int, *, died_again: bool, quiet_s: float | None
) -> Canary:
    """What became of the letter that a replay tried first.

    A bead ended well when it was claimed; a message without one when it was published and has not
    died again for a while. quiet_s: seconds since it was seen published; None before that.
    """
    if died_again:
        return Canary("failed", "the canary died again")
    if bead is not None:
        if bead.state is State.BLOCKED:
            return Canary("failed", f"the canary's bead {bead.id} is blocked again: {bead.reason}")
        claimed = bead.epoch >= owed_epoch or bead.state is State.CLOSED
        return Canary("well" if claimed else "waiting")
    well = quiet_s is not None and quiet_s >= CANARY_QUIET_S
    return Canary("well" if well else "waiting")


def owed_epoch(queue: str, epoch: int) -> int:
    """The epoch of the attempt that a replayed letter's bead is owed."""
    return epoch + 1 if queue == RESULTS_QUEUE else epoch
