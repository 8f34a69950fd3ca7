"""The database service, as every other service sees it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import grpc
import stamina

from loom.clients.access import AccessCalls
from loom.clients.answers import Filed, Page
from loom.clients.breaker import Breaker
from loom.clients.comments import CommentCalls
from loom.clients.desk import DeskCalls
from loom.clients.events import EventCalls
from loom.clients.imports import ImportCalls
from loom.clients.logs import LogCalls
from loom.clients.presence import PresenceCalls
from loom.clients.retention import RetentionCalls
from loom.clients.statistics import StatisticsCalls
from loom.clients.steering import SteeringCalls
from loom.clients.waiting import WaitingCalls
from loom.clients.webhooks import WebhookCalls
from loom.domain.audit import Intervention
from loom.domain.bead import Attempt, Bead, NewBead
from loom.domain.identity import new_message_id
from loom.domain.listing import ALL, BeadFilter, BeadSort
from loom.domain.outbox import Claim, ClaimVerdict, OutboxRow, ResultVerdict
from loom.domain.project import Project
from loom.domain.reconciliation import Depth, Reconciliation
from loom.errors import Unavailable
from loom.messaging.deadletter import DeadLetter
from loom.messaging.result import ResultMessage
from loom.rpc import codec, desk, reconciliation, status
from loom.rpc.channel import connect
from loom.rpc.v1 import (
    access_pb2_grpc,
    agents_pb2_grpc,
    comments_pb2_grpc,
    database_pb2_grpc,
    desk_pb2_grpc,
    events_pb2_grpc,
    imports_pb2_grpc,
    logs_pb2_grpc,
    retention_pb2_grpc,
    statistics_pb2_grpc,
    webhooks_pb2_grpc,
)
from loom.rpc.v1 import database_pb2 as pb
from loom.settings import LedgerClientSettings

SERVICE = "the database service"
TRIES = 4
"""How often a repeatable call is made in all, with backoff and jitter, while it finds nobody."""

__all__ = ["SERVICE", "DatabaseClient", "Filed", "Page", "Recorded"]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of one result."""

    message_id: str
    verdict: ResultVerdict
    detail: str = ""


class DatabaseClient(
    ImportCalls,
    CommentCalls,
    DeskCalls,
    EventCalls,
    WebhookCalls,
    SteeringCalls,
    WaitingCalls,
    PresenceCalls,
    LogCalls,
    RetentionCalls,
    StatisticsCalls,
    AccessCalls,
):
    """Calls of the database service, each with a deadline.

    Every method may raise Unavailable or DeadlineExceeded, and whatever the service raises. What
    changes nothing, or nothing more the second time, is tried again within its deadline. While
    the service stays away the breaker answers.
    """

    def __init__(self, channel: grpc.Channel, deadline_s: float = 5.0) -> None:
        self.breaker = Breaker(SERVICE)
        self._channel = channel
        self._stub = database_pb2_grpc.DatabaseServiceStub(channel)
        self._access = access_pb2_grpc.AccessServiceStub(channel)
        self._agents = agents_pb2_grpc.AgentServiceStub(channel)
        self._comments = comments_pb2_grpc.CommentServiceStub(channel)
        self._desk = desk_pb2_grpc.DeskServiceStub(channel)
        self._events = events_pb2_grpc.EventServiceStub(channel)
        self._imports = imports_pb2_grpc.ImportServiceStub(channel)
        self._webhooks = webhooks_pb2_grpc.WebhookServiceStub(channel)
        self._logs = logs_pb2_grpc.LogServiceStub(channel)
        self._retention = retention_pb2_grpc.RetentionServiceStub(channel)
        self._statistics = statistics_pb2_grpc.StatisticsServiceStub(channel)
        self._deadline_s = deadline_s

    @classmethod
    def from_settings(cls, settings: LedgerClientSettings) -> Self:
        """A client with a channel of its own; make it after a fork."""
        channel = connect(settings.target, settings.token.get_secret_value())
        return cls(channel, settings.deadline_s)

    def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        self._channel.close()

    def create_project(
        self, project: Project, correlation_id: str, traceparent: str = "",
        idempotency: tuple[str, str] = ("", ""), *, by: Intervention | None = None,
    ) -> Filed[Project]:  # fmt: skip
        """Make a project. idempotency: key and fingerprint. Raises Conflict, Invalid."""
        answer = self._call(
            self._stub.CreateProject,
            pb.CreateProjectRequest(
                project=codec.project_to_pb(project),
                correlation_id=correlation_id,
                traceparent=traceparent,
                idempotency=pb.Idempotency(key=idempotency[0], fingerprint=idempotency[1]),
                by=codec.intervention_to_pb(by) if by else None,
            ),
        )
        return Filed((codec.project_from_pb(answer.project),), answer.replayed)

    def get_project(self, project_id: str) -> Project:
        """One project. Raises NotFound."""
        answer = self._call(self._stub.GetProject, pb.GetProjectRequest(id=project_id))
        return codec.project_from_pb(answer.project)

    def list_projects(
        self, page_size: int = 100, cursor: str = "", ids: Sequence[str] = ()
    ) -> Page[Project]:
        """Projects in the order of their ids. ids: only these, if any."""
        answer = self._call(
            self._stub.ListProjects,
            pb.ListProjectsRequest(page_size=page_size, cursor=cursor, ids=ids),
        )
        return Page(tuple(map(codec.project_from_pb, answer.projects)), answer.next_cursor)

    def create_beads(
        self, project_id: str, beads: Sequence[NewBead], correlation_id: str,
        traceparent: str = "", idempotency: tuple[str, str] = ("", ""),
    ) -> Filed[Bead]:  # fmt: skip
        """File beads, all or none. Raises NotFound (the project), Conflict (an id), Invalid."""
        answer = self._call(
            self._stub.CreateBeads,
            pb.CreateBeadsRequest(
                project_id=project_id,
                beads=map(codec.new_bead_to_pb, beads),
                correlation_id=correlation_id,
                traceparent=traceparent,
                idempotency=pb.Idempotency(key=idempotency[0], fingerprint=idempotency[1]),
            ),
        )
        return Filed(tuple(map(codec.bead_from_pb, answer.beads)), answer.replayed)

    def get_bead(self, bead_id: str) -> Bead:
        """One bead. Raises NotFound."""
        answer = self._call(self._stub.GetBead, pb.GetBeadRequest(id=bead_id))
        return codec.bead_from_pb(answer.bead)

    def list_beads(
        self, project_id: str = "", states: Sequence[str] = (), resolution: str = "",
        page_size: int = 50, cursor: str = "", *, where: BeadFilter = ALL,
        sort: BeadSort = BeadSort.NEWEST,
    ) -> Page[Bead]:  # fmt: skip
        """Beads: those that where shows, and that the other words do. Raises Invalid."""
        answer = self._call(
            self._stub.ListBeads,
            pb.ListBeadsRequest(
                project_id=project_id,
                states=states,
                resolution=resolution,
                page_size=page_size,
                cursor=cursor,
                filter=desk.filter_to_pb(where),
                sort=sort.value,
            ),
        )
        return Page(tuple(map(codec.bead_from_pb, answer.beads)), answer.next_cursor)

    def list_attempts(self, bead_id: str) -> tuple[Attempt, ...]:
        """Every try at a bead, oldest first. Raises NotFound."""
        answer = self._call(self._stub.ListAttempts, pb.ListAttemptsRequest(bead_id=bead_id))
        return tuple(map(codec.attempt_from_pb, answer.attempts))

    def lease_outbox(self, owner: str, limit: int, wait_ms: int = 0) -> tuple[OutboxRow, ...]:
        """Rows that are due, leased to owner; waits up to wait_ms for one."""
        answer = self._call(
            self._stub.LeaseOutbox,
            pb.LeaseOutboxRequest(owner=owner, limit=limit, wait_ms=wait_ms),
            extra_s=wait_ms / 1000,
        )
        return tuple(map(codec.outbox_row_from_pb, answer.rows))

    def settle_outbox(
        self, owner: str, published: Sequence[int], unsettled: Sequence[tuple[int, str]] = ()
    ) -> tuple[int, int]:
        """Say which rows the broker confirmed, and which not, with the reason; how many counted."""
        answer = self._call(
            self._stub.SettleOutbox,
            pb.SettleOutboxRequest(
                owner=owner,
                published=published,
                unsettled=[pb.UnsettledRow(id=i, reason=reason) for i, reason in unsettled],
            ),
        )
        return answer.published, answer.unsettled

    def claim_bead(
        self, bead_id: str, epoch: int, agent_id: str, *, redelivered: bool = False,
        request_id: str = "",
    ) -> Claim:  # fmt: skip
        """Claim a bead under the epoch of its task message."""
        answer = self._call(
            self._stub.ClaimBead,
            pb.ClaimBeadRequest(
                request_id=request_id or new_message_id(),
                bead_id=bead_id,
                epoch=epoch,
                agent_id=agent_id,
                redelivered=redelivered,
            ),
        )
        name = pb.ClaimVerdict.Name(answer.verdict).removeprefix("CLAIM_VERDICT_").lower()
        verdict = ClaimVerdict(name)
        if verdict is not ClaimVerdict.GRANTED:
            return Claim(verdict)
        return Claim(
            verdict,
            epoch=answer.epoch,
            attempt=answer.attempt,
            lease_s=answer.lease_s,
            bead=codec.bead_from_pb(answer.bead),
            project=codec.project_from_pb(answer.project),
            previous=(
                codec.attempt_from_pb(answer.previous) if answer.HasField("previous") else None
            ),
        )

    def renew_lease(self, bead_id: str, epoch: int, agent_id: str) -> float:
        """Seconds the lease now lasts. Raises Stale when the attempt no longer holds it."""
        answer = self._call(
            self._stub.RenewLease,
            pb.RenewLeaseRequest(bead_id=bead_id, epoch=epoch, agent_id=agent_id),
        )
        return float(answer.lease_s)

    def record_results(self, results: Sequence[tuple[ResultMessage, str]]) -> tuple[Recorded, ...]:
        """Apply results, each with its traceparent; what became of each, in their order."""
        answer = self._call(
            self._stub.RecordResults,
            pb.RecordResultsRequest(results=[codec.result_to_pb(m, t) for m, t in results]),
        )
        prefix = "RESULT_VERDICT_"
        return tuple(
            Recorded(
                r.message_id,
                ResultVerdict(pb.ResultVerdict.Name(r.verdict).removeprefix(prefix).lower()),
                r.detail,
            )
            for r in answer.results
        )

    def record_dead_letters(self, letters: Sequence[DeadLetter]) -> tuple[int, int]:
        """Record dead letters; how many were new, and how many beads they blocked."""
        answer = self._call(
            self._stub.RecordDeadLetters,
            pb.RecordDeadLettersRequest(letters=map(codec.dead_letter_to_pb, letters)),
        )
        return answer.recorded, answer.blocked

    def expire_leases(self, limit: int = 500) -> tuple[int, int, int]:
        """End attempts whose lease ran out: how many lost, beads owed again, beads blocked."""
        answer = self._call(self._stub.ExpireLeases, pb.ExpireLeasesRequest(limit=limit))
        return answer.lost, answer.retried, answer.blocked

    def reconcile(
        self, depths: Sequence[Depth], *, repair: bool = False, grace_s: float | None = None
    ) -> Reconciliation:
        """Compare the ledger with what was read of the broker, and mend. Raises Invalid."""
        answer = self._call(
            self._stub.Reconcile,
            pb.ReconcileRequest(
                queues=map(reconciliation.depth_to_pb, depths), repair=repair, grace_s=grace_s
            ),
        )
        return reconciliation.from_pb(answer)

    def _call(self, method: Callable[..., Any], request: Any, extra_s: float = 0.0) -> Any:
        give_up_at = time.monotonic() + self._deadline_s + extra_s

        def once() -> Any:
            with _named_errors():
                return method(request, timeout=max(0.001, give_up_at - time.monotonic()))

        if not _repeatable(request):
            return self.breaker.call(once)
        for attempt in stamina.retry_context(
            on=_may_pass,
            attempts=TRIES,
            timeout=self._deadline_s,
            wait_initial=0.05,
            wait_max=0.5,
            wait_jitter=0.1,
        ):
            with attempt:
                return self.breaker.call(once)
        raise AssertionError("a retry either returns or raises")


def _repeatable(request: Any) -> bool:
    """Whether a request reads, or has a key by which the service knows it again."""
    if request.DESCRIPTOR.name.startswith(("Get", "List", "Explain", "Read")):
        return True
    return "idempotency" in request.DESCRIPTOR.fields_by_name and bool(request.idempotency.key)


def _may_pass(error: Exception) -> bool:
    """Whether the service was away, and not known to be for longer."""
    return isinstance(error, Unavailable) and "breaker" not in error.data


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise status.from_call(error, SERVICE) from error
