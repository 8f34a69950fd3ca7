"""SaveBead: files a bead, or edits and moves one under its version."""

from __future__ import annotations

from sqlalchemy import Connection

from loom.database import audit, beads, decisions, filing, rows
from loom.database.changes import Edit
from loom.database.writing import write
from loom.domain.audit import Intervention
from loom.domain.bead import Bead, NewBead
from loom.domain.identity import check_bead_id, check_project_id
from loom.domain.lifecycle import State
from loom.errors import IllegalTransition, Invalid
from loom.rpc import codec
from loom.rpc.v1 import database_pb2 as pb


def wanted(asked: pb.Bead) -> NewBead:
    """The words of the bead that is saved; raises Invalid or TooLarge."""
    check_bead_id(asked.id)
    check_project_id(asked.project_id)
    filing.check_text(asked.reason, "reason")
    filing.check_text(asked.correlation_id, "correlation_id")
    bead = NewBead(
        id=asked.id,
        title=asked.title,
        description=asked.description,
        context=filing.read_context(asked.context),
        priority=asked.priority,
        not_before=codec.moment(asked.not_before) if asked.HasField("not_before") else None,
        blocked_by=tuple(asked.blocked_by),
        parent=asked.parent,
        max_attempts=asked.max_attempts,
    )
    filing.check_bead(bead)
    return bead


def save(
    connection: Connection, asked: pb.Bead, expected_version: int, caller: str, traceparent: str
) -> Bead:
    """File the bead at version 0, otherwise edit it; as it is then.

    An empty context keeps the one it has. Raises NotFound, Conflict, Stale, IllegalTransition.
    """
    bead = wanted(asked)
    if expected_version == 0:
        if asked.state not in ("", State.OPEN.value) or asked.resolution:
            raise IllegalTransition(
                f"bead {bead.id} is new: it can only be filed as open", bead_id=bead.id
            )
        (made,) = beads.file(
            connection, asked.project_id, (bead,), asked.correlation_id, traceparent
        )
        _note(connection, asked, caller, None, made)
        return made
    standing = rows.lock_standings(connection, [bead.id]).get(bead.id)
    if standing is None:
        raise beads.missing(bead.id)
    if standing.project_id != asked.project_id:
        raise Invalid(
            f"bead {bead.id} is of project {standing.project_id}, and stays there",
            field="project_id",
        )
    before = beads.get(connection, bead.id)
    changes = decisions.save(standing, wish(before, bead, asked, expected_version, caller))
    write(connection, changes)
    if not changes:
        return before
    after = beads.get(connection, bead.id)
    _note(connection, asked, caller, before, after)
    return after


_TOLD = ("title", "description", "context", "priority")


def _note(
    connection: Connection, asked: pb.Bead, caller: str, before: Bead | None, after: Bead
) -> None:
    """Write the save into the trail: who, why, and what is not as it was."""
    by = Intervention(caller, asked.reason, asked.correlation_id)
    detail: dict[str, str | int | list[str]] = {
        "state": after.state.value, "version": after.version,
    }  # fmt: skip
    if before is not None:
        detail["was"] = before.state.value
        detail["edited"] = [name for name in _TOLD if getattr(before, name) != getattr(after, name)]
    audit.note(connection, by, "bead.save", after.id, detail)


def wish(
    before: Bead, bead: NewBead, asked: pb.Bead, expected_version: int, caller: str
) -> decisions.Wish:
    """What is to change of a bead: words that are the same are no edit."""
    edit = Edit(
        title=bead.title,
        description=bead.description,
        context=bead.context if asked.context else before.context,
        priority=bead.priority,
    )
    same = (edit.title, edit.description, edit.context, edit.priority) == (
        before.title, before.description, before.context, before.priority,
    )  # fmt: skip
    return decisions.Wish(
        expected_version=expected_version,
        caller=caller,
        state=asked.state,
        resolution=asked.resolution,
        reason=asked.reason,
        edit=None if same else edit,
    )
