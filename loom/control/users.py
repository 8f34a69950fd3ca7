"""The routes of people and their roles, for admins."""

from __future__ import annotations

from flask import Blueprint, Response, g, jsonify, request

from loom.clients.accounts import USERS, user_to_json
from loom.control import body
from loom.control.accounts import Accounts
from loom.control.answers.accounts import PasswordOut, UserMadeOut, UserOut, UserPageOut
from loom.control.identities import Identities
from loom.control.operation import Within, operation
from loom.control.passwords import Passwords, generate
from loom.control.requests.accounts import GrantIn, RevokeIn, UserIn, WhyIn
from loom.control.requests.reading import Paging, read_body, read_query
from loom.domain.access import Role
from loom.domain.account import USER_NAME, User
from loom.domain.audit import Intervention
from loom.errors import NotFound
from loom.telemetry import logs, traces

UNSAID = "no reason given"

log = logs.get(__name__)


def routes(ledger: Accounts, identities: Identities, passwords: Passwords) -> Blueprint:
    """Make users, give them roles and take them away, let them in or not."""
    users = Blueprint("users", __name__)

    @users.get("/users")
    @operation(
        "List users by their names", needs=Role.ADMIN, within=Within.ALL, query=Paging,
        answers={200: UserPageOut},
    )  # fmt: skip
    def list_all() -> Response:
        query = read_query(Paging, request.args.to_dict(flat=False))
        page = ledger.list_users(query.limit, query.cursor)
        found = [user_to_json(user) for user in page.items]
        return jsonify({"users": found, "next_cursor": page.next_cursor or None})

    @users.post("/users")
    @operation(
        "Make a user", needs=Role.ADMIN, within=Within.ALL, body=UserIn,
        answers={201: UserMadeOut}, refuses=("conflict", "not_found"),
    )  # fmt: skip
    def create() -> Response:
        asked = read_body(UserIn, body.read())
        made_up = generate() if asked.password is None else None
        wanted = User(asked.name, asked.role, asked.projects)
        hashed = passwords.hash(made_up or asked.password or "")
        user = ledger.create_user(wanted, hashed, by(asked.reason))
        log.info("user_created", user=user.name)
        response = jsonify({"user": user_to_json(user), "password": made_up})
        response.status_code = 201
        response.headers["Location"] = f"{USERS}/{user.name}"
        return unkept(response)

    @users.get("/users/<user_name>")
    @operation("Show a user", needs=Role.ADMIN, within=Within.ALL, answers={200: UserOut})
    def show(user_name: str) -> Response:
        return jsonify(user_to_json(ledger.get_user(_known(user_name))))

    @users.post("/users/<user_name>/grant")
    @operation(
        "Give a user a role", needs=Role.ADMIN, within=Within.ALL, body=GrantIn,
        answers={200: UserOut},
    )  # fmt: skip
    def grant(user_name: str) -> Response:
        asked = read_body(GrantIn, body.read())
        return _changed(
            ledger.grant_role(_known(user_name), asked.project or "", asked.role, by(asked.reason))
        )

    @users.post("/users/<user_name>/revoke")
    @operation(
        "Take a role away from a user", needs=Role.ADMIN, within=Within.ALL, body=RevokeIn,
        answers={200: UserOut},
    )  # fmt: skip
    def revoke(user_name: str) -> Response:
        asked = read_body(RevokeIn, body.read())
        return _changed(
            ledger.grant_role(_known(user_name), asked.project or "", None, by(asked.reason))
        )

    @users.post("/users/<user_name>/<any(enable, disable):act>")
    @operation(
        "Let a user in, or not any more", needs=Role.ADMIN, within=Within.ALL, body=WhyIn,
        answers={200: UserOut},
    )  # fmt: skip
    def enable(user_name: str, act: str) -> Response:
        asked = read_body(WhyIn, body.read())
        return _changed(
            ledger.enable_user(_known(user_name), by(asked.reason), enabled=act == "enable")
        )

    @users.post("/users/<user_name>/reset-password")
    @operation(
        "Make another password for a user", needs=Role.ADMIN, within=Within.ALL, body=WhyIn,
        answers={200: PasswordOut},
    )  # fmt: skip
    def reset(user_name: str) -> Response:
        asked = read_body(WhyIn, body.read())
        password = generate()
        hashed = passwords.hash(password)
        _changed(ledger.set_password(_known(user_name), hashed, by(asked.reason)))
        return unkept(jsonify({"password": password}))

    def _changed(user: User) -> Response:
        identities.forget()
        log.info("user_changed", user=user.name)
        return jsonify(user_to_json(user))

    return users


def by(reason: str) -> Intervention:
    """Who makes the current request, and why, if they said."""
    return Intervention(
        g.principal.name, reason.strip() or UNSAID, g.correlation_id, traces.traceparent()
    )


def unkept(response: Response) -> Response:
    """The response, which has a secret in it: nobody is to keep it."""
    response.headers["Cache-Control"] = "no-store"
    return response


def _known(name: str) -> str:
    """The name from a path; raises NotFound if no user can have it."""
    if not USER_NAME.fullmatch(name):
        raise NotFound(f"there is no user {name[:80]!r}: `loom user list` says who there is")
    return name
