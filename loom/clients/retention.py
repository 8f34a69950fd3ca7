"""The call of the database service that forgets what is old."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.domain.retention import Ages, Forgotten
from loom.rpc.v1 import retention_pb2 as pb
from loom.rpc.v1 import retention_pb2_grpc


class RetentionCalls:
    """The call of the RetentionService; DatabaseClient has the others."""

    _retention: retention_pb2_grpc.RetentionServiceStub
    _call: Callable[..., Any]

    def forget_old(self, ages: Ages, limit: int = 1_000) -> Forgotten:
        """Forget some of what is older than that; how many of each kind. Raises Invalid."""
        answer = self._call(
            self._retention.ForgetOld,
            pb.ForgetOldRequest(
                logs_s=ages.logs,
                inbox_s=ages.inbox,
                idempotency_s=ages.idempotency,
                query_audit_s=ages.query_audit,
                limit=limit,
            ),
        )
        return Forgotten(answer.logs, answer.inbox, answer.idempotency, answer.query_audit)
