"""What beads wait for: projects' shares and limits, links, due times, and why."""

from __future__ import annotations

from loom.database import amending, explaining, filing, projects
from loom.database.steering import Run
from loom.domain.bead import Amendment, Bead
from loom.domain.project import Project, ProjectChange
from loom.domain.waiting import Why, explain


class Waiting:
    """Commands about waiting, each in one transaction."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def update_project(
        self,
        project_id: str,
        change: ProjectChange,
        correlation_id: str,
        traceparent: str,
        time_left_s: float,
    ) -> Project:
        """Change a project; it as it is then. Raises NotFound, Invalid."""
        filing.check_project_change(change)
        filing.check_text(correlation_id, "correlation_id")
        filing.check_text(traceparent, "traceparent")
        return self._run(
            lambda c: projects.update(c, project_id, change, correlation_id, traceparent),
            time_left_s,
            tells=True,
        )

    def explain(self, bead_id: str, time_left_s: float) -> Why:
        """Why a bead is not running. Raises NotFound."""
        return explain(self._run(lambda c: explaining.facts(c, bead_id), time_left_s))

    def amend(
        self,
        bead_id: str,
        amendment: Amendment,
        *,
        expected_version: int,
        caller: str,
        traceparent: str,
        time_left_s: float,
    ) -> Bead:
        """Change what a bead waits for; it as it is then."""
        filing.check_amendment(bead_id, amendment)
        return self._run(
            lambda c: amending.amend(
                c,
                bead_id,
                amendment,
                expected_version=expected_version,
                caller=caller,
                traceparent=traceparent,
            ),
            time_left_s,
            tells=True,
        )
