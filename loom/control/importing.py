"""What the routes of imports and exports ask of the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from loom.clients.answers import Page
from loom.domain.audit import Intervention
from loom.domain.imports.difference import View
from loom.domain.imports.issue import Origin, Source
from loom.domain.imports.reading import Line
from loom.domain.imports.verdict import Verdict


class Imports(Protocol):
    """The calls of loom.clients.database.DatabaseClient that these routes stand on."""

    def import_beads(
        self, project_id: str, source: Source, lines: Sequence[Line], by: Intervention, *,
        dry_run: bool = False, run: bool = False,
    ) -> tuple[Verdict, ...]:  # fmt: skip
        """Bring issues in."""

    def list_exports(self, project_id: str, page_size: int = 200, cursor: str = "") -> Page[View]:
        """A project's beads with all that is said of them."""

    def get_origin(self, bead_id: str) -> Origin | None:
        """Where a bead came from."""
