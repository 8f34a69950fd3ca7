"""What people do with beads at their desk, in the ledger: take one, and act on many at once."""

from __future__ import annotations

from collections.abc import Callable

import grpc
from sqlalchemy import Connection, select, text

from loom.database import audit, beads, blockers, bulk, handing, listing, rows, settling, tables
from loom.database.changes import Changes
from loom.database.ordering import RANK
from loom.database.steering import Run, intervention
from loom.database.writing import write
from loom.domain.audit import Intervention
from loom.domain.bead import Bead
from loom.domain.bulk import MAX_BULK, Act, Bulk, BulkAnswer
from loom.domain.identity import check_bead_id
from loom.domain.lifecycle import Resolution
from loom.rpc import codec
from loom.rpc import desk as wire
from loom.rpc.server import caller
from loom.rpc.v1 import desk_pb2 as pb
from loom.rpc.v1 import desk_pb2_grpc
from loom.telemetry import traces

NAME = "loom.v1.DeskService"

_ASSIGN = text(
    """
    UPDATE bead SET assignee = :assignee, version = version + 1, updated_at = clock_timestamp()
     WHERE id = :bead_id
    """
)

_PRIORITY = text(
    f"""
    WITH changed AS (
        UPDATE bead SET priority = :priority, version = version + 1,
                        updated_at = clock_timestamp()
         WHERE id = ANY(:ids)
        RETURNING id, created_at, not_before
    )
    UPDATE outbox o SET priority = :priority, rank = {RANK.format(bead="b", priority=":priority")}
      FROM changed b WHERE o.kind = 'task' AND o.bead_id = b.id
    """  # noqa: S608 - put together from constants
)


def assign(connection: Connection, bead_id: str, assignee: str, by: Intervention) -> Bead:
    """Give a bead to somebody, or back; the bead then. Raises NotFound, IllegalTransition."""
    blockers.lock_beads(connection, [bead_id])
    before = beads.get(connection, bead_id)
    handed = handing.hand(before, assignee, by)
    if handed is None:
        return before
    connection.execute(_ASSIGN, {"bead_id": bead_id, "assignee": assignee})
    blockers.regate(connection, [bead_id])
    write(connection, Changes(events=(handed.event,)))
    audit.note(
        connection, by, handed.action, bead_id, {"assignee": assignee, "was": before.assignee}
    )
    return beads.get(connection, bead_id)


def act(connection: Connection, asked: Bulk, by: Intervention) -> BulkAnswer:
    """Do it to each, all in this transaction; what became of each."""
    ids = list(asked.ids)
    more = False
    if not ids:
        ids = listing.ids(connection, asked.where, MAX_BULK + 1)
        ids, more = ids[:MAX_BULK], len(ids) > MAX_BULK
    standings = bulk.within(asked, rows.lock_standings(connection, ids))
    decided = bulk.decide(asked, ids, standings, _ended(connection, ids), by)
    if asked.dry_run or not decided.touched:
        return BulkAnswer(decided.done, more)
    touched = list(decided.touched)
    if asked.act is Act.PRIORITY:
        connection.execute(_PRIORITY, {"ids": touched, "priority": asked.priority})
    write(connection, decided.changes)
    if state := bulk.LETTERS.get(asked.act):
        settling.settle_of_beads(connection, touched, state, by)
    for id_ in touched:
        facts = {"was": standings[id_].state.value, "bulk": len(touched)}
        audit.note(connection, by, bulk.ACTIONS[asked.act], id_, facts)
    return BulkAnswer(decided.done, more)


def _ended(connection: Connection, ids: list[str]) -> dict[str, Resolution]:
    table = tables.bead.c
    found = connection.execute(
        select(table.id, table.resolution).where(table.id.in_(ids), table.resolution.is_not(None))
    )
    return {row.id: Resolution(row.resolution) for row in found}


class Desk:
    """Commands of people at their desk, each in one transaction."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def assign(self, bead_id: str, assignee: str, by: Intervention, time_left_s: float) -> Bead:
        """Give a bead to somebody, or back; the bead then."""
        check_bead_id(bead_id)
        handing.check_name(assignee)
        return self._run(lambda c: assign(c, bead_id, assignee, by), time_left_s, tells=True)

    def act(self, asked: Bulk, by: Intervention, time_left_s: float) -> BulkAnswer:
        """Act on many beads; what became of each."""
        bulk.check(asked)
        return self._run(lambda c: act(c, asked, by), time_left_s, tells=True)


class DeskService(desk_pb2_grpc.DeskServiceServicer):
    """Every call of proto/loom/v1/desk.proto; errors are raised as Loom's own."""

    def __init__(self, desk: Desk, left: Callable[[grpc.ServicerContext], float]) -> None:
        """left: the seconds until a call's deadline; raises Unavailable without a database."""
        self._desk = desk
        self._left = left

    def AssignBead(
        self, request: pb.AssignBeadRequest, context: grpc.ServicerContext
    ) -> pb.AssignBeadResponse:
        by = intervention(request.by, caller.get(), traces.traceparent())
        bead = self._desk.assign(request.bead_id, request.assignee, by, self._left(context))
        return pb.AssignBeadResponse(bead=codec.bead_to_pb(bead))

    def ActOnBeads(
        self, request: pb.ActOnBeadsRequest, context: grpc.ServicerContext
    ) -> pb.ActOnBeadsResponse:
        by = intervention(request.by, caller.get(), traces.traceparent())
        answer = self._desk.act(wire.bulk_from_pb(request), by, self._left(context))
        return wire.answer_to_pb(answer)
