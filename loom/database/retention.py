"""Forgetting what is old: live logs, applied results' ids, idempotency keys, audited queries.

None of it decides anything any more. A result that comes again after its id is forgotten meets its
epoch, which fences it.
"""

from __future__ import annotations

from collections.abc import Callable

import grpc
from sqlalchemy import Connection, TextClause, text

from loom.database.steering import Run
from loom.domain.retention import Ages, Forgotten, check_ages
from loom.errors import Invalid
from loom.rpc.v1 import retention_pb2 as pb
from loom.rpc.v1 import retention_pb2_grpc

NAME = "loom.v1.RetentionService"
MOST = 5_000
LOGS_SHARE = 50
"""A log has hundreds of rows: of so many rows, one log is forgotten."""

_LOGS = text(
    """
    WITH old AS (
        SELECT l.bead_id, l.epoch FROM attempt_log l
          JOIN attempt a ON a.bead_id = l.bead_id AND a.epoch = l.epoch
         WHERE a.finished_at < clock_timestamp() - :age_s * interval '1 second'
         ORDER BY l.bead_id, l.epoch LIMIT :most
           FOR UPDATE OF l SKIP LOCKED
    ), chunks AS (
        DELETE FROM log_chunk c USING old WHERE c.bead_id = old.bead_id AND c.epoch = old.epoch
    ), gone AS (
        DELETE FROM attempt_log l USING old WHERE l.bead_id = old.bead_id AND l.epoch = old.epoch
        RETURNING 1
    )
    SELECT count(*) FROM gone
    """
)
_ROWS = """
    WITH gone AS (
        DELETE FROM {table} WHERE {key} IN (
            SELECT {key} FROM {table}
             WHERE {at} < clock_timestamp() - :age_s * interval '1 second'
             ORDER BY {at} LIMIT :most FOR UPDATE SKIP LOCKED)
        RETURNING 1
    )
    SELECT count(*) FROM gone
"""
_INBOX = text(_ROWS.format(table="inbox", key="message_id", at="received_at"))
_IDEMPOTENCY = text(_ROWS.format(table="idempotency", key="key", at="created_at"))
_QUERY_AUDIT = text("SELECT forget_query_audit(:age_s * interval '1 second', :most)")


class Retention:
    """Forgets, in one transaction a call."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def forget(self, ages: Ages, limit: int, time_left_s: float) -> Forgotten:
        """Forget up to limit of each kind that are older; how many that were."""
        check_ages(ages)
        if not 1 <= limit <= MOST:
            raise Invalid(f"limit has to be 1 to {MOST}", field="limit")

        def work(connection: Connection) -> Forgotten:
            def gone(statement: TextClause, age_s: float, most: int = limit) -> int:
                if not age_s:
                    return 0
                words = {"age_s": age_s, "most": most}
                return int(connection.execute(statement, words).scalar_one())

            return Forgotten(
                logs=gone(_LOGS, ages.logs, max(1, limit // LOGS_SHARE)),
                inbox=gone(_INBOX, ages.inbox),
                idempotency=gone(_IDEMPOTENCY, ages.idempotency),
                query_audit=gone(_QUERY_AUDIT, ages.query_audit),
            )

        return self._run(work, time_left_s)


class RetentionService(retention_pb2_grpc.RetentionServiceServicer):
    """Every call of proto/loom/v1/retention.proto; errors are raised as Loom's own."""

    def __init__(self, retention: Retention, left: Callable[[grpc.ServicerContext], float]) -> None:
        """left: the seconds until a call's deadline; raises Unavailable without a database."""
        self._retention = retention
        self._left = left

    def ForgetOld(
        self, request: pb.ForgetOldRequest, context: grpc.ServicerContext
    ) -> pb.ForgetOldResponse:
        ages = Ages(request.logs_s, request.inbox_s, request.idempotency_s, request.query_audit_s)
        gone = self._retention.forget(ages, request.limit, self._left(context))
        return pb.ForgetOldResponse(
            logs=gone.logs,
            inbox=gone.inbox,
            idempotency=gone.idempotency,
            query_audit=gone.query_audit,
        )
