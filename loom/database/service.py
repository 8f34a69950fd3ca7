"""The DatabaseService over gRPC: requests in, commands on the ledger, answers out."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from loom.database import query, reports
from loom.database.deadletters import from_pb as letter_from_pb
from loom.database.ledger import Ledger
from loom.database.steering_service import SteeringService
from loom.database.waiting_service import WaitingService, edited_by
from loom.domain.outbox import ClaimVerdict, ResultVerdict
from loom.errors import Unavailable
from loom.rpc import codec, reconciliation
from loom.rpc.server import caller
from loom.rpc.v1 import database_pb2 as pb
from loom.telemetry import traces

NAME = "loom.v1.DatabaseService"

_CLAIMS = {
    verdict: pb.ClaimVerdict.Value(f"CLAIM_VERDICT_{verdict.name}") for verdict in ClaimVerdict
}
_RESULTS = {
    verdict: pb.ResultVerdict.Value(f"RESULT_VERDICT_{verdict.name}") for verdict in ResultVerdict
}


class DatabaseService(SteeringService, WaitingService):
    """Every call of proto/loom/v1/database.proto; errors are raised as Loom's own."""

    def __init__(self, ledger: Ledger, answering: Callable[[], bool]) -> None:
        """answering: whether the database does; if not, calls fail at once instead of waiting."""
        self._ledger = ledger
        self._steering = ledger.steering
        self._waiting = ledger.waiting
        self._answering = answering

    def time_left(self, context: grpc.ServicerContext) -> float:
        """Seconds until the call's deadline; raises Unavailable while no database answers."""
        return self._left(context)

    def _left(self, context: grpc.ServicerContext) -> float:
        if not self._answering():
            raise Unavailable(
                "the database does not answer: the service's log says why, and it tries again by "
                "itself",
                service="postgres",
            )
        left = context.time_remaining()
        return 0.0 if left is None else float(left)

    def ExecuteQuery(
        self, request: pb.ExecuteQueryRequest, context: grpc.ServicerContext
    ) -> pb.ExecuteQueryResponse:
        answer = self._ledger.execute_query(request, caller.get(), self._left(context))
        return pb.ExecuteQueryResponse(
            columns=answer.columns,
            rows=[pb.Row(values=map(query.value_to_pb, row)) for row in answer.rows],
            truncated=answer.truncated,
        )

    def BeginTransaction(
        self, request: pb.BeginTransactionRequest, context: grpc.ServicerContext
    ) -> pb.BeginTransactionResponse:
        id_, ends = self._ledger.transactions.begin(
            caller.get(),
            read_only=request.read_only,
            timeout_ms=request.timeout_ms,
            time_left_s=self._left(context),
        )
        return pb.BeginTransactionResponse(transaction_id=id_, expires_at=codec.stamp(ends))

    def Commit(self, request: pb.CommitRequest, context: grpc.ServicerContext) -> pb.CommitResponse:
        self._ledger.commit(request.transaction_id, caller.get(), self._left(context))
        return pb.CommitResponse()

    def Rollback(
        self, request: pb.RollbackRequest, context: grpc.ServicerContext
    ) -> pb.RollbackResponse:
        self._ledger.transactions.roll_back(
            request.transaction_id, caller.get(), self._left(context)
        )
        return pb.RollbackResponse()

    def GetBead(
        self, request: pb.GetBeadRequest, context: grpc.ServicerContext
    ) -> pb.GetBeadResponse:
        bead = self._ledger.get_bead(
            request.id, request.transaction_id, caller.get(), self._left(context)
        )
        return pb.GetBeadResponse(bead=codec.bead_to_pb(bead))

    def SaveBead(
        self, request: pb.SaveBeadRequest, context: grpc.ServicerContext
    ) -> pb.SaveBeadResponse:
        bead = self._ledger.save_bead(
            request, caller.get(), traces.traceparent(), self._left(context)
        )
        return pb.SaveBeadResponse(bead=codec.bead_to_pb(bead))

    def ListBeads(
        self, request: pb.ListBeadsRequest, context: grpc.ServicerContext
    ) -> pb.ListBeadsResponse:
        found, cursor = self._ledger.list_beads(request, caller.get(), self._left(context))
        return pb.ListBeadsResponse(beads=map(codec.bead_to_pb, found), next_cursor=cursor)

    def CreateProject(
        self, request: pb.CreateProjectRequest, context: grpc.ServicerContext
    ) -> pb.CreateProjectResponse:
        return self._ledger.create_project(request, edited_by(request), self._left(context))

    def GetProject(
        self, request: pb.GetProjectRequest, context: grpc.ServicerContext
    ) -> pb.GetProjectResponse:
        project = self._ledger.get_project(request.id, self._left(context))
        return pb.GetProjectResponse(project=codec.project_to_pb(project))

    def ListProjects(
        self, request: pb.ListProjectsRequest, context: grpc.ServicerContext
    ) -> pb.ListProjectsResponse:
        found, cursor = self._ledger.list_projects(
            request.page_size, request.cursor, self._left(context), list(request.ids)
        )
        return pb.ListProjectsResponse(projects=map(codec.project_to_pb, found), next_cursor=cursor)

    def CreateBeads(
        self, request: pb.CreateBeadsRequest, context: grpc.ServicerContext
    ) -> pb.CreateBeadsResponse:
        return self._ledger.create_beads(request, self._left(context))

    def LeaseOutbox(
        self, request: pb.LeaseOutboxRequest, context: grpc.ServicerContext
    ) -> pb.LeaseOutboxResponse:
        rows = self._ledger.lease_outbox(
            request.owner, request.limit, request.wait_ms, self._left(context)
        )
        return pb.LeaseOutboxResponse(rows=rows)

    def SettleOutbox(
        self, request: pb.SettleOutboxRequest, context: grpc.ServicerContext
    ) -> pb.SettleOutboxResponse:
        published, unsettled = self._ledger.settle_outbox(
            request.owner,
            list(request.published),
            [(row.id, row.reason) for row in request.unsettled],
            self._left(context),
        )
        return pb.SettleOutboxResponse(published=published, unsettled=unsettled)

    def ClaimBead(
        self, request: pb.ClaimBeadRequest, context: grpc.ServicerContext
    ) -> pb.ClaimBeadResponse:
        claim = self._ledger.claim_bead(request, caller.get(), self._left(context))
        if claim.bead is None or claim.project is None:
            return pb.ClaimBeadResponse(verdict=_CLAIMS[claim.verdict])
        return pb.ClaimBeadResponse(
            verdict=_CLAIMS[claim.verdict],
            epoch=claim.epoch,
            attempt=claim.attempt,
            lease_s=claim.lease_s,
            bead=codec.bead_to_pb(claim.bead),
            project=codec.project_to_pb(claim.project),
            previous=codec.attempt_to_pb(claim.previous) if claim.previous else None,
        )

    def RenewLease(
        self, request: pb.RenewLeaseRequest, context: grpc.ServicerContext
    ) -> pb.RenewLeaseResponse:
        lease_s = self._ledger.renew_lease(
            request.bead_id, request.epoch, request.agent_id, caller.get(), self._left(context)
        )
        return pb.RenewLeaseResponse(lease_s=lease_s)

    def RecordResults(
        self, request: pb.RecordResultsRequest, context: grpc.ServicerContext
    ) -> pb.RecordResultsResponse:
        judged = self._ledger.record_results(
            [reports.from_pb(result) for result in request.results], self._left(context)
        )
        return pb.RecordResultsResponse(
            results=[
                pb.RecordedResult(
                    message_id=result.message_id,
                    verdict=_RESULTS[verdict.verdict],
                    detail=verdict.detail,
                )
                for result, verdict in zip(request.results, judged, strict=True)
            ]
        )

    def RecordDeadLetters(
        self, request: pb.RecordDeadLettersRequest, context: grpc.ServicerContext
    ) -> pb.RecordDeadLettersResponse:
        recorded, blocked = self._ledger.record_dead_letters(
            [letter_from_pb(letter) for letter in request.letters], self._left(context)
        )
        return pb.RecordDeadLettersResponse(recorded=recorded, blocked=blocked)

    def ListAttempts(
        self, request: pb.ListAttemptsRequest, context: grpc.ServicerContext
    ) -> pb.ListAttemptsResponse:
        attempts = self._ledger.list_attempts(request.bead_id, self._left(context))
        return pb.ListAttemptsResponse(attempts=map(codec.attempt_to_pb, attempts))

    def ExpireLeases(
        self, request: pb.ExpireLeasesRequest, context: grpc.ServicerContext
    ) -> pb.ExpireLeasesResponse:
        done = self._ledger.expire_leases(request.limit, self._left(context))
        return pb.ExpireLeasesResponse(lost=done.lost, retried=done.retried, blocked=done.blocked)

    def Reconcile(
        self, request: pb.ReconcileRequest, context: grpc.ServicerContext
    ) -> pb.ReconcileResponse:
        done = self._ledger.reconcile(
            [reconciliation.depth_from_pb(depth) for depth in request.queues],
            repair=request.repair,
            grace_s=request.grace_s if request.HasField("grace_s") else None,
            time_left_s=self._left(context),
        )
        return reconciliation.to_pb(done)
