"""What becomes of many beads at once, decided on values: each as it would be alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from loom.database import interventions
from loom.database.beads import missing
from loom.database.changes import Changes, Event, Standing
from loom.database.filing import check_priority
from loom.domain.audit import Intervention
from loom.domain.bulk import MAX_BULK, Act, Bulk, Done, Verdict
from loom.domain.identity import check_bead_id
from loom.domain.lifecycle import Resolution, State
from loom.domain.replay import LetterState
from loom.errors import IllegalTransition, Invalid, LoomError

ACTIONS = {Act.CANCEL: "bead.cancel", Act.UNBLOCK: "bead.unblock", Act.PRIORITY: "bead.edit"}
LETTERS = {Act.CANCEL: LetterState.DISCARDED, Act.UNBLOCK: LetterState.REPLAYED}
"""What becomes of the dead letters of a bead."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of each, and what that changes. touched: the beads that change."""

    done: tuple[Done, ...]
    changes: Changes = field(default_factory=Changes)
    touched: tuple[str, ...] = ()


def check(bulk: Bulk) -> Bulk:
    """The request; raises Invalid."""
    check_priority(bulk.priority)
    if len(bulk.ids) > MAX_BULK:
        raise Invalid(f"one request acts on at most {MAX_BULK} beads", field="ids")
    if len(set(bulk.ids)) < len(bulk.ids):
        raise Invalid("a bead is named twice", field="ids")
    for id_ in bulk.ids:
        check_bead_id(id_)
    return bulk


def within(bulk: Bulk, standings: Mapping[str, Standing]) -> dict[str, Standing]:
    """The beads of the projects that are asked for; all, if none is."""
    projects = bulk.where.projects
    return {
        id_: each for id_, each in standings.items() if not projects or each.project_id in projects
    }


def decide(
    bulk: Bulk,
    ids: Sequence[str],
    standings: Mapping[str, Standing],
    ended: Mapping[str, Resolution],
    by: Intervention,
) -> Decided:
    """Decide on each bead. ended: how those ended that are closed."""
    done: list[Done] = []
    changes: list[Changes] = []
    touched: list[str] = []
    for id_ in ids:
        try:
            standing = standings.get(id_)
            if standing is None:
                raise missing(id_)
            change = _DECISIONS[bulk.act](bulk, standing, ended.get(id_), by)
        except LoomError as error:
            verdict = Verdict.MISSING if id_ not in standings else Verdict.REFUSED
            done.append(Done(id_, verdict, error.code, error.detail))
            continue
        if change:
            touched.append(id_)
            changes.append(change)
        done.append(Done(id_, Verdict.DONE if change else Verdict.UNCHANGED))
    return Decided(tuple(done), _together(changes), tuple(touched))


def _together(changes: Sequence[Changes]) -> Changes:
    """All of them: no bead stands in two."""
    return Changes(
        moved=tuple(each for change in changes for each in change.moved),
        ended=tuple(each for change in changes for each in change.ended),
        owed=tuple(each for change in changes for each in change.owed),
        withdrawn=tuple(each for change in changes for each in change.withdrawn),
        events=tuple(each for change in changes for each in change.events),
        recalled=tuple(each for change in changes for each in change.recalled),
    )


def _cancel(
    _bulk: Bulk, bead: Standing, ended: Resolution | None, by: Intervention
) -> Changes:  # fmt: skip
    return interventions.cancel(bead, ended, by)


def _unblock(
    _bulk: Bulk, bead: Standing, _ended: Resolution | None, by: Intervention
) -> Changes:  # fmt: skip
    return interventions.unblock(bead, by)


def _priority(
    bulk: Bulk, bead: Standing, _ended: Resolution | None, by: Intervention
) -> Changes:  # fmt: skip
    if bead.state not in (State.OPEN, State.BLOCKED):
        raise IllegalTransition(
            f"bead {bead.id} is {bead.state.value}: it can be edited while it is open or blocked",
            bead_id=bead.id,
            state=bead.state.value,
        )
    if bead.priority == bulk.priority:
        return Changes()
    data = {"by": by.actor, "version": bead.version + 1}
    event = Event(
        "bead.edited", bead.project_id, bead.id, bead.epoch, data, bead.correlation_id,
        by.traceparent,
    )  # fmt: skip
    return Changes(events=(event,))


_DECISIONS: dict[
    Act, Callable[[Bulk, Standing, Resolution | None, Intervention], Changes]
] = {Act.CANCEL: _cancel, Act.UNBLOCK: _unblock, Act.PRIORITY: _priority}  # fmt: skip
