"""The ImportService over gRPC, and the commands behind it, each in one transaction."""

from __future__ import annotations

from collections.abc import Callable

import grpc
from sqlalchemy import Connection

from loom.database import exporting, importing
from loom.database.steering import Run, intervention
from loom.domain.identity import check_bead_id, check_project_id
from loom.domain.imports.verdict import Verdict
from loom.rpc import imports
from loom.rpc.server import caller
from loom.rpc.v1 import imports_pb2 as pb
from loom.rpc.v1 import imports_pb2_grpc
from loom.telemetry import traces

NAME = "loom.v1.ImportService"


class Imports:
    """Commands on work that came from elsewhere."""

    def __init__(self, run: Run, admit: Callable[[Connection, int], None]) -> None:
        """admit: raises Exhausted while no more beads may come."""
        self.run = run
        self.admit = admit


class ImportService(imports_pb2_grpc.ImportServiceServicer):
    """Every call of proto/loom/v1/imports.proto; errors are raised as Loom's own."""

    def __init__(self, of: Imports, left: Callable[[grpc.ServicerContext], float]) -> None:
        """left: the seconds until a call's deadline; raises Unavailable without a database."""
        self._of = of
        self._left = left

    def ImportBeads(
        self, request: pb.ImportBeadsRequest, context: grpc.ServicerContext
    ) -> pb.ImportBeadsResponse:
        source = imports.source_of(request.source)
        by = intervention(request.by, caller.get(), traces.traceparent())
        lines = [imports.line_from_pb(record) for record in request.records]

        def work(connection: Connection) -> tuple[Verdict, ...]:
            return importing.run(
                connection, request.project_id, source, lines, by,
                dry_run=request.dry_run, start=request.run, admit=self._of.admit,
            )  # fmt: skip

        verdicts = self._of.run(work, self._left(context), tells=not request.dry_run)
        return pb.ImportBeadsResponse(verdicts=map(imports.verdict_to_pb, verdicts))

    def ListExports(
        self, request: pb.ListExportsRequest, context: grpc.ServicerContext
    ) -> pb.ListExportsResponse:
        project_id = check_project_id(request.project_id)
        views, cursor = self._of.run(
            lambda c: exporting.page(c, project_id, request.page_size, request.cursor),
            self._left(context),
        )
        return pb.ListExportsResponse(beads=map(imports.view_to_pb, views), next_cursor=cursor)

    def GetOrigin(
        self, request: pb.GetOriginRequest, context: grpc.ServicerContext
    ) -> pb.GetOriginResponse:
        bead_id = check_bead_id(request.bead_id)
        found = self._of.run(lambda c: exporting.origin(c, bead_id), self._left(context))
        return pb.GetOriginResponse(origin=imports.origin_to_pb(found))
