"""The LogService over gRPC: requests in, commands on the ledger, answers out."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from loom.database.logbook import Logbook
from loom.errors import Invalid
from loom.rpc import logs
from loom.rpc.v1 import logs_pb2 as pb
from loom.rpc.v1 import logs_pb2_grpc

NAME = "loom.v1.LogService"


class LogService(logs_pb2_grpc.LogServiceServicer):
    """Every call of proto/loom/v1/logs.proto; errors are raised as Loom's own."""

    def __init__(self, book: Logbook, left: Callable[[grpc.ServicerContext], float]) -> None:
        """left: the seconds until a call's deadline; raises Unavailable without a database."""
        self._book = book
        self._left = left

    def AppendLogs(
        self, request: pb.AppendLogsRequest, context: grpc.ServicerContext
    ) -> pb.AppendLogsResponse:
        try:
            chunks = [logs.chunk_from_pb(chunk) for chunk in request.chunks]
        except ValueError as error:
            raise Invalid(f"a line cannot be kept: {error}", field="kind") from error
        verdicts = self._book.append(chunks, self._left(context))
        return pb.AppendLogsResponse(verdicts=[verdict.value for verdict in verdicts])

    def ReadLog(
        self, request: pb.ReadLogRequest, context: grpc.ServicerContext
    ) -> pb.ReadLogResponse:
        page = self._book.read(
            request.bead_id,
            request.epoch,
            request.cursor,
            request.limit,
            self._left(context),
            from_now=request.from_now,
        )
        return logs.page_to_pb(page)

    def WatchLogs(
        self, request: pb.WatchLogsRequest, context: grpc.ServicerContext
    ) -> pb.WatchLogsResponse:
        known = {each.bead_id: each.mark for each in request.marks}
        differ = self._book.watch(known, request.wait_ms / 1000, self._left(context))
        return pb.WatchLogsResponse(
            marks=[pb.LogMark(bead_id=id_, mark=mark) for id_, mark in differ.items()]
        )
