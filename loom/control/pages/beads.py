"""The pages of beads: the board, the table, and one bead."""

from __future__ import annotations

from flask import Blueprint, Response, request

from loom.control.operation import Within, operation
from loom.control.pages import frame
from loom.control.pages.desk import Desk


def routes(desk: Desk) -> Blueprint:
    """Show beads."""
    beads = Blueprint("bead_pages", __name__)

    @beads.get("/beads")
    @operation("The page of beads", page=True, within=Within.SOME)
    def index() -> Response:
        page = desk.ledger.list_beads(cursor=request.args.get("cursor", ""))
        return frame.page("beads.html", beads=page.items, next_cursor=page.next_cursor)

    return beads
