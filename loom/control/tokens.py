"""The routes of tokens for programs, for admins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flask import Blueprint, Response, jsonify, request

from loom.clients.accounts import token_to_json
from loom.control import body
from loom.control.accounts import Accounts
from loom.control.answers.accounts import TokenMadeOut, TokenOut, TokenPageOut
from loom.control.identities import Identities
from loom.control.operation import Within, operation
from loom.control.requests.accounts import TokenIn, WhyIn
from loom.control.requests.reading import Paging, read_body, read_query
from loom.control.users import by, unkept
from loom.domain.access import Role
from loom.domain.account import NewToken, new_token
from loom.rpc.callers import digest
from loom.telemetry import logs

log = logs.get(__name__)


def routes(ledger: Accounts, identities: Identities) -> Blueprint:
    """Make tokens, list them and revoke them."""
    tokens = Blueprint("tokens", __name__)

    @tokens.get("/tokens")
    @operation(
        "List tokens, newest first", needs=Role.ADMIN, within=Within.ALL, query=Paging,
        answers={200: TokenPageOut},
    )  # fmt: skip
    def list_all() -> Response:
        query = read_query(Paging, request.args.to_dict(flat=False))
        page = ledger.list_tokens(query.limit, query.cursor)
        found = [token_to_json(token) for token in page.items]
        return jsonify({"tokens": found, "next_cursor": page.next_cursor or None})

    @tokens.post("/tokens")
    @operation(
        "Make a token", needs=Role.ADMIN, within=Within.ALL, body=TokenIn,
        answers={201: TokenMadeOut}, refuses=("not_found",),
    )  # fmt: skip
    def create() -> Response:
        asked = read_body(TokenIn, body.read())
        secret = new_token()
        ends = None
        if asked.expires_in_s is not None:
            ends = datetime.now(UTC) + timedelta(seconds=asked.expires_in_s)
        new = NewToken(secret.id, asked.name, digest(secret.text), asked.role, asked.projects, ends)
        made = ledger.create_token(new, by(asked.reason))
        log.info("token_created", token_id=made.id, name=made.name)
        response = jsonify({"token": secret.text, "details": token_to_json(made)})
        response.status_code = 201
        return unkept(response)

    @tokens.post("/tokens/<token_id>/revoke")
    @operation(
        "Revoke a token", needs=Role.ADMIN, within=Within.ALL, body=WhyIn,
        answers={200: TokenOut},
    )  # fmt: skip
    def revoke(token_id: str) -> Response:
        asked = read_body(WhyIn, body.read())
        token = ledger.revoke_token(token_id[:80], by(asked.reason))
        identities.forget()
        log.info("token_revoked", token_id=token.id)
        return jsonify(token_to_json(token))

    return tokens
