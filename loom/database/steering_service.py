"""The part of the DatabaseService that people and their timers use, over gRPC."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from loom.database.steering import Steering, intervention
from loom.domain.audit import Intervention
from loom.rpc import codec
from loom.rpc.server import caller
from loom.rpc.v1 import database_pb2 as pb
from loom.rpc.v1 import database_pb2_grpc
from loom.telemetry import traces


def _by(by: pb.Intervention) -> Intervention:
    return intervention(by, caller.get(), traces.traceparent())


class SteeringService(database_pb2_grpc.DatabaseServiceServicer):
    """Calls on beads, dead letters and the audit; DatabaseService has the others."""

    _steering: Steering
    _left: Callable[[grpc.ServicerContext], float]

    def CancelBead(
        self, request: pb.CancelBeadRequest, context: grpc.ServicerContext
    ) -> pb.CancelBeadResponse:
        bead = self._steering.cancel_bead(request.bead_id, _by(request.by), self._left(context))
        return pb.CancelBeadResponse(bead=codec.bead_to_pb(bead))

    def UnblockBead(
        self, request: pb.UnblockBeadRequest, context: grpc.ServicerContext
    ) -> pb.UnblockBeadResponse:
        bead = self._steering.unblock_bead(request.bead_id, _by(request.by), self._left(context))
        return pb.UnblockBeadResponse(bead=codec.bead_to_pb(bead))

    def GetDeadLetter(
        self, request: pb.GetDeadLetterRequest, context: grpc.ServicerContext
    ) -> pb.GetDeadLetterResponse:
        letter = self._steering.get_letter(request.id, self._left(context))
        return pb.GetDeadLetterResponse(letter=codec.dead_letter_to_pb(letter))

    def ListDeadLetters(
        self, request: pb.ListDeadLettersRequest, context: grpc.ServicerContext
    ) -> pb.ListDeadLettersResponse:
        letters, cursor = self._steering.list_letters(request, self._left(context))
        return pb.ListDeadLettersResponse(
            letters=map(codec.dead_letter_to_pb, letters), next_cursor=cursor
        )

    def ListDeadLetterGroups(
        self, request: pb.ListDeadLetterGroupsRequest, context: grpc.ServicerContext
    ) -> pb.ListDeadLetterGroupsResponse:
        groups, cursor = self._steering.list_groups(request, self._left(context))
        return pb.ListDeadLetterGroupsResponse(
            groups=map(codec.group_to_pb, groups), next_cursor=cursor
        )

    def ReplayDeadLetter(
        self, request: pb.ReplayDeadLetterRequest, context: grpc.ServicerContext
    ) -> pb.ReplayDeadLetterResponse:
        letter = self._steering.replay_letter(
            request.id, _by(request.by), request.dry_run, self._left(context)
        )
        return pb.ReplayDeadLetterResponse(letter=codec.dead_letter_to_pb(letter))

    def DiscardDeadLetter(
        self, request: pb.DiscardDeadLetterRequest, context: grpc.ServicerContext
    ) -> pb.DiscardDeadLetterResponse:
        letter = self._steering.discard_letter(
            request.id, _by(request.by), request.dry_run, self._left(context)
        )
        return pb.DiscardDeadLetterResponse(letter=codec.dead_letter_to_pb(letter))

    def ReplayDeadLetterGroup(
        self, request: pb.ReplayDeadLetterGroupRequest, context: grpc.ServicerContext
    ) -> pb.ReplayDeadLetterGroupResponse:
        matching, begun = self._steering.replay_group(request, _by(request.by), self._left(context))
        return pb.ReplayDeadLetterGroupResponse(
            matching=matching, replay=codec.replay_to_pb(begun) if begun else None
        )

    def DiscardDeadLetterGroup(
        self, request: pb.DiscardDeadLetterGroupRequest, context: grpc.ServicerContext
    ) -> pb.DiscardDeadLetterGroupResponse:
        matching, discarded = self._steering.discard_group(
            request, _by(request.by), self._left(context)
        )
        return pb.DiscardDeadLetterGroupResponse(matching=matching, discarded=discarded)

    def ListReplays(
        self, request: pb.ListReplaysRequest, context: grpc.ServicerContext
    ) -> pb.ListReplaysResponse:
        replays, cursor = self._steering.list_replays(request, self._left(context))
        return pb.ListReplaysResponse(replays=map(codec.replay_to_pb, replays), next_cursor=cursor)

    def AdvanceReplays(
        self, request: pb.AdvanceReplaysRequest, context: grpc.ServicerContext
    ) -> pb.AdvanceReplaysResponse:
        done = self._steering.advance_replays(request.limit, self._left(context))
        return pb.AdvanceReplaysResponse(
            replayed=done.replayed, refused=done.refused, ended=done.ended
        )

    def ListSweepable(
        self, request: pb.ListSweepableRequest, context: grpc.ServicerContext
    ) -> pb.ListSweepableResponse:
        letters = self._steering.sweepable(request.limit, self._left(context))
        return pb.ListSweepableResponse(letters=letters)

    def SettleSwept(
        self, request: pb.SettleSweptRequest, context: grpc.ServicerContext
    ) -> pb.SettleSweptResponse:
        self._steering.settle_swept(list(request.gone), list(request.missing), self._left(context))
        return pb.SettleSweptResponse()

    def ListAudit(
        self, request: pb.ListAuditRequest, context: grpc.ServicerContext
    ) -> pb.ListAuditResponse:
        lines, cursor = self._steering.list_audit(request, self._left(context))
        return pb.ListAuditResponse(lines=map(codec.audit_line_to_pb, lines), next_cursor=cursor)
