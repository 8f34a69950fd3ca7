"""The page of one bead: its trip, its evidence, its log, what it changed and what was said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, Response

from loom.clients.comments import Subject
from loom.clients.downloads import Kept, artifact_path, kept_by
from loom.control import visible
from loom.control.beads import known_bead
from loom.control.operation import Within, operation
from loom.control.pages import frame, trip
from loom.control.pages.desk import Desk
from loom.domain.bead import Attempt, Bead
from loom.domain.event import EventFilter
from loom.domain.lifecycle import State

DIFF = "changes.diff"
"""The artifact in which an agent keeps what it changed."""
EVENTS, COMMENTS = 200, 200


def routes(desk: Desk) -> Blueprint:
    """Show a bead, part by part."""
    beads = Blueprint("bead_page", __name__)

    @beads.get("/beads/<bead_id>")
    @operation("The page of a bead", page=True, within=Within.BEAD)
    def show(bead_id: str) -> Response:
        bead, attempts = _read(bead_id)
        why = desk.ledger.explain_bead(bead.id)
        known = desk.ledger.trip(bead.id)
        events = desk.ledger.list_events(
            EventFilter(bead_id=bead.id), limit=EVENTS, newest_first=False
        ).events
        tried = [
            (number, attempt, trip.bar(attempt, known, trip.since_of(number - 1, bead, attempts)))
            for number, attempt in enumerate(attempts, 1)
        ]
        seen = visible.scope()
        return _page(
            "bead.html", bead, attempts, "trip",
            why=why,
            hops=trip.hops(bead, attempts, known, events, why),
            tried=tuple(reversed(tried)),
            relatives=[r for r in known.relatives if not seen or r.project_id in seen],
        )  # fmt: skip

    @beads.get("/beads/<bead_id>/log")
    @operation("The page of a bead's log", page=True, within=Within.BEAD)
    def log(bead_id: str) -> Response:
        bead, attempts = _read(bead_id)
        return _page("bead_log.html", bead, attempts, "log")

    @beads.get("/beads/<bead_id>/changes")
    @operation("The page of what a bead changes", page=True, within=Within.BEAD)
    def changes(bead_id: str) -> Response:
        bead, attempts = _read(bead_id)
        kept = [k for a in reversed(attempts) for k in kept_by(a) if k.artifact.name == DIFF]
        patch = bead.context.get("patch")
        return _page(
            "bead_changes.html", bead, attempts, "changes",
            diffs=[(each, artifact_path(each)) for each in kept],
            patch=patch if isinstance(patch, str) else "",
        )  # fmt: skip

    @beads.get("/beads/<bead_id>/artifacts")
    @operation("The page of a bead's artifacts", page=True, within=Within.BEAD)
    def artifacts(bead_id: str) -> Response:
        bead, attempts = _read(bead_id)
        return _page("bead_artifacts.html", bead, attempts, "artifacts", kept=_kept(attempts))

    @beads.get("/beads/<bead_id>/comments")
    @operation("The page of what was said of a bead", page=True, within=Within.BEAD)
    def comments(bead_id: str) -> Response:
        bead, attempts = _read(bead_id)
        said = desk.ledger.list_comments(Subject(bead_id=bead.id), page_size=COMMENTS)
        return _page("bead_comments.html", bead, attempts, "comments", comments=said.items)

    def _read(bead_id: str) -> tuple[Bead, Sequence[Attempt]]:
        bead = desk.ledger.get_bead(known_bead(bead_id))
        return bead, desk.ledger.list_attempts(bead.id)

    def _page(
        template: str, bead: Bead, attempts: Sequence[Attempt], tab: str, **more: Any
    ) -> Response:
        return frame.page(
            template,
            bead=bead,
            attempts=attempts,
            tab=tab,
            living=bead.state is not State.CLOSED,
            artifact_count=len(_kept(attempts)),
            **more,
        )

    return beads


def _kept(attempts: Sequence[Attempt]) -> list[tuple[Kept, str]]:
    """What attempts left, the newest attempt's first, and where it is."""
    return [(kept, artifact_path(kept)) for a in reversed(attempts) for kept in kept_by(a)]
