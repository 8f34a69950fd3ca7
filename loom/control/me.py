"""The routes by which somebody deals with what is theirs: who they are, password and logins."""

from __future__ import annotations

from flask import Blueprint, Response, g, jsonify, request

from loom.clients.accounts import session_to_json
from loom.control import access, body
from loom.control.accounts import Accounts
from loom.control.answers.accounts import MeOut, SessionOut, SessionPageOut
from loom.control.identities import Identities
from loom.control.limits import Throttle
from loom.control.login import check_password
from loom.control.operation import Within, operation
from loom.control.passwords import Passwords
from loom.control.problem import Fault, InvalidFields
from loom.control.requests.accounts import PasswordIn, SessionQuery
from loom.control.requests.reading import read_body, read_query
from loom.control.users import by
from loom.domain.access import Role
from loom.telemetry import logs

EVERYBODY = "*"

log = logs.get(__name__)


def routes(
    ledger: Accounts, identities: Identities, passwords: Passwords, throttle: Throttle
) -> Blueprint:
    """Say who asks; change a password; list logins and end them."""
    own = Blueprint("me", __name__)

    @own.get("/me")
    @operation("Say who asks, and what they may do", within=Within.SELF, answers={200: MeOut})
    def me() -> Response:
        who = access.principal()
        return jsonify(
            {
                "name": who.name,
                "user": access.user() or None,
                "role": who.role.value if who.role else None,
                "projects": {id_: role.value for id_, role in sorted(who.projects.items())},
                "login": g.identity.id or None,
            }
        )

    @own.post("/me/password")
    @operation(
        "Change one's own password, which ends one's logins", within=Within.SELF, body=PasswordIn,
        answers={204: None},
    )  # fmt: skip
    def password() -> Response:
        asked, name = read_body(PasswordIn, body.read()), access.user()
        if not name:
            access.refuse("a token has no password: log in as the user whose password it is")
        throttle.login(name)
        if not check_password(ledger, passwords, name, asked.current):
            raise InvalidFields([Fault("current", "is not the password")])
        throttle.succeeded(name)
        ledger.set_password(name, passwords.hash(asked.new), by("changed it"))
        identities.forget()
        log.info("password_changed", user=name)
        return Response(status=204)

    @own.get("/sessions")
    @operation(
        "List one's own logins, newest first; an admin may list those of others",
        within=Within.SELF, query=SessionQuery, answers={200: SessionPageOut},
    )  # fmt: skip
    def sessions() -> Response:
        query = read_query(SessionQuery, request.args.to_dict(flat=False))
        wanted = query.user or access.user() or EVERYBODY
        if wanted != access.user():
            access.check_may(Role.ADMIN)
        page = ledger.list_sessions(
            "" if wanted == EVERYBODY else wanted, query.limit, query.cursor
        )
        found = [session_to_json(session) for session in page.items]
        return jsonify({"sessions": found, "next_cursor": page.next_cursor or None})

    @own.delete("/sessions/<session_id>")
    @operation(
        "End a login, one's own; an admin may end those of others", within=Within.SELF,
        answers={200: SessionOut},
    )  # fmt: skip
    def end(session_id: str) -> Response:
        mine = "" if access.principal().may(Role.ADMIN) else access.user()
        if not mine:
            access.check_may(Role.ADMIN)
        session = ledger.end_session(session_id[:80], by("ended it"), user=mine)
        identities.forget()
        return jsonify(session_to_json(session))

    return own
