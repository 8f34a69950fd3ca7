"""What the control plane asks of the ledger; DatabaseClient is one, and so is a fake."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from loom.clients.answers import Filed, Page
from loom.control.accounts import Accounts
from loom.control.agents import Agents
from loom.control.commenting import Comments
from loom.control.feed import Events
from loom.control.followers import Ledger as Logs
from loom.control.importing import Imports
from loom.control.statistics import Statistics
from loom.control.steering import Steering
from loom.control.webhooks import Webhooks
from loom.domain.audit import Intervention
from loom.domain.bead import Amendment, Attempt, Bead, NewBead
from loom.domain.listing import ALL, BeadFilter, BeadSort
from loom.domain.project import Project, ProjectChange
from loom.domain.reconciliation import Depth, Reconciliation
from loom.domain.waiting import Why


class Ledger(
    Accounts, Steering, Agents, Logs, Comments, Statistics, Events, Webhooks, Imports, Protocol
):
    """The calls of loom.clients.database.DatabaseClient that the API stands on."""

    def create_project(
        self, project: Project, correlation_id: str, traceparent: str = "",
        idempotency: tuple[str, str] = ("", ""), *, by: Intervention | None = None,
    ) -> Filed[Project]:  # fmt: skip
        """Make a project."""

    def get_project(self, project_id: str) -> Project:
        """One project."""

    def list_projects(
        self, page_size: int = 100, cursor: str = "", ids: Sequence[str] = ()
    ) -> Page[Project]:
        """Projects in the order of their ids."""

    def create_beads(
        self, project_id: str, beads: Sequence[NewBead], correlation_id: str,
        traceparent: str = "", idempotency: tuple[str, str] = ("", ""),
    ) -> Filed[Bead]:  # fmt: skip
        """File beads, all or none."""

    def get_bead(self, bead_id: str) -> Bead:
        """One bead."""

    def list_beads(
        self, project_id: str = "", states: Sequence[str] = (), resolution: str = "",
        page_size: int = 50, cursor: str = "", *, where: BeadFilter = ALL,
        sort: BeadSort = BeadSort.NEWEST,
    ) -> Page[Bead]:  # fmt: skip
        """Beads: those that where shows, and that the other words do."""

    def update_project(
        self, project_id: str, change: ProjectChange, correlation_id: str,
        traceparent: str = "", *, expected_version: int = 0, by: Intervention | None = None,
    ) -> Project:  # fmt: skip
        """Edit a project, pause, drain, resume, close or reopen it."""

    def amend_bead(
        self, bead_id: str, amendment: Amendment, expected_version: int = 0,
        traceparent: str = "", by: Intervention | None = None,
    ) -> Bead:  # fmt: skip
        """Edit a bead."""

    def explain_bead(self, bead_id: str) -> Why:
        """Why a bead is not running."""

    def list_attempts(self, bead_id: str) -> tuple[Attempt, ...]:
        """Every try at a bead."""

    def reconcile(
        self, depths: Sequence[Depth], *, repair: bool = False, grace_s: float | None = None
    ) -> Reconciliation:
        """Compare with what was read of the broker, and mend if asked."""
