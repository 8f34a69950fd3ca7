"""The calls of the database service about work that came from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from loom.clients.answers import Page
from loom.domain.audit import Intervention
from loom.domain.imports.difference import View
from loom.domain.imports.issue import Origin, Source
from loom.domain.imports.reading import Line
from loom.domain.imports.verdict import Verdict
from loom.rpc import imports
from loom.rpc.v1 import database_pb2, imports_pb2_grpc
from loom.rpc.v1 import imports_pb2 as pb

IMPORT_S = 25.0
"""How much longer than other calls an import may take."""


class ImportCalls:
    """Calls of the ImportService; DatabaseClient has the others."""

    _imports: imports_pb2_grpc.ImportServiceStub
    _call: Callable[..., Any]

    def import_beads(
        self, project_id: str, source: Source, lines: Sequence[Line], by: Intervention, *,
        dry_run: bool = False, run: bool = False,
    ) -> tuple[Verdict, ...]:  # fmt: skip
        """Bring issues in; what became of each. Raises NotFound (the project), Invalid."""
        answer = self._call(
            self._imports.ImportBeads,
            pb.ImportBeadsRequest(
                project_id=project_id,
                source=source.value,
                records=map(imports.line_to_pb, lines),
                dry_run=dry_run,
                run=run,
                by=database_pb2.Intervention(
                    actor=by.actor,
                    reason=by.reason,
                    correlation_id=by.correlation_id,
                    traceparent=by.traceparent,
                ),
            ),
            extra_s=IMPORT_S,
        )
        return tuple(map(imports.verdict_from_pb, answer.verdicts))

    def list_exports(self, project_id: str, page_size: int = 200, cursor: str = "") -> Page[View]:
        """A project's beads with all that is said of them, oldest first. Raises NotFound."""
        answer = self._call(
            self._imports.ListExports,
            pb.ListExportsRequest(project_id=project_id, page_size=page_size, cursor=cursor),
        )
        return Page(tuple(map(imports.view_from_pb, answer.beads)), answer.next_cursor)

    def get_origin(self, bead_id: str) -> Origin | None:
        """Where a bead came from; None if it was filed here. Raises NotFound."""
        answer = self._call(self._imports.GetOrigin, pb.GetOriginRequest(bead_id=bead_id))
        return imports.origin_from_pb(answer.origin) if answer.HasField("origin") else None
