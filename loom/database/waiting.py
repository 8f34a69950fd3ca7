"""What beads wait for: projects' shares and limits, links, due times, and why."""

from __future__ import annotations

from loom.database import amending, explaining, filing, projects
from loom.database.steering import Run
from loom.domain.audit import MAX_REASON, Intervention
from loom.domain.bead import Amendment, Bead
from loom.domain.project import Project, ProjectChange
from loom.domain.waiting import Why, explain
from loom.errors import Invalid


class Waiting:
    """Commands about waiting, each in one transaction."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def update_project(
        self,
        project_id: str,
        change: ProjectChange,
        expected_version: int,
        by: Intervention,
        time_left_s: float,
    ) -> Project:
        """Change a project; it as it is then. Raises NotFound, Stale, Invalid."""
        filing.check_project_change(change)
        check_words(by)
        return self._run(
            lambda c: projects.update(c, project_id, change, expected_version, by),
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
        by: Intervention,
        time_left_s: float,
    ) -> Bead:
        """Change a bead; it as it is then."""
        filing.check_amendment(bead_id, amendment)
        check_words(by)
        return self._run(
            lambda c: amending.amend(
                c,
                bead_id,
                amendment,
                expected_version=expected_version,
                by=by,
            ),
            time_left_s,
            tells=True,
        )


def check_words(by: Intervention) -> None:
    """Raise Invalid if the trail cannot hold who it is and why; an edit may have no reason."""
    for name in ("actor", "reason", "correlation_id", "traceparent"):
        filing.check_text(getattr(by, name), name)
    if len(by.reason) > MAX_REASON:
        raise Invalid(f"a reason has at most {MAX_REASON} characters", field="reason")
