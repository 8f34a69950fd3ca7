"""Who may call: whoever holds the token, and anybody for the two probes."""

from __future__ import annotations

import hmac

from flask import Flask, g, request

from loom.errors import Unauthenticated
from loom.rpc.callers import digest

OPEN = frozenset({"/healthz", "/readyz"})
PRINCIPAL = "operator"
"""Whose token it is; idempotency keys are apart for each."""


def install(app: Flask, token_sha256: str) -> None:
    """Refuse every request without the token, but those for a probe."""

    def check() -> None:
        if request.path in OPEN:
            return
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        known = hmac.compare_digest(digest(token.strip()), token_sha256.lower())
        if scheme.lower() != "bearer" or not known:
            raise Unauthenticated(
                "send the header `Authorization: Bearer <token>`; `loom token show` prints it"
            )
        g.principal = PRINCIPAL

    app.before_request(check)
