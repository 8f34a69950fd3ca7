"""The pages of access: who may come in and do what, and what is one's own."""

from __future__ import annotations

from flask import Blueprint, Response, request

from loom.clients.answers import every
from loom.control import access
from loom.control.operation import Within, operation
from loom.control.pages import frame
from loom.control.pages.desk import Desk
from loom.domain.access import Role

ROWS = 100


def routes(desk: Desk) -> Blueprint:
    """Show people and tokens to an admin, and to everybody what is theirs."""
    pages = Blueprint("people_pages", __name__)

    @pages.get("/access")
    @operation("The page of access", page=True, needs=Role.ADMIN, within=Within.ALL)
    def index() -> Response:
        cursor = request.args.get("cursor", "")
        tokens = desk.ledger.list_tokens(ROWS, cursor)
        return frame.page(
            "access.html",
            users=tuple(every(lambda after: desk.ledger.list_users(cursor=after))),
            tokens=tokens.items,
            projects=desk.projects(),
            roles=tuple(Role),
            next_path=f"/access?cursor={tokens.next_cursor}" if tokens.next_cursor else "",
            first_path="/access" if cursor else "",
        )

    @pages.get("/me")
    @operation("The page of what is one's own", page=True, within=Within.SELF)
    def me() -> Response:
        name = access.user()
        sessions = desk.ledger.list_sessions(name, ROWS).items if name else ()
        return frame.page("me.html", name=name, principal=access.principal(), sessions=sessions)

    return pages
