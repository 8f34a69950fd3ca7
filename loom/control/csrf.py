"""Cross-site requests: an unsafe one that a cookie authenticates has to come from our own pages,
and to show what they alone know.

The token is derived from the secret in the cookie (HMAC), so that it is another one for every
session, and nobody who cannot read the cookie can tell it.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import urlsplit

from flask import g, request

from loom.errors import Forbidden

HEADER = "X-CSRF-Token"
FIELD = "csrf_token"


def token(secret: str) -> str:
    """What a page shows beside the cookie with that secret."""
    return hmac.new(secret.encode(), b"loom csrf", hashlib.sha256).hexdigest()


def check(secret: str) -> None:
    """Raise Forbidden unless the current request comes from one of our own pages."""
    shown = request.headers.get(HEADER, "")
    if not shown and request.mimetype == "application/x-www-form-urlencoded":
        shown = request.form.get(FIELD, "")
    known = hmac.compare_digest(shown.encode(), token(secret).encode())
    if not known or not _from_here():
        g.refused = True
        raise Forbidden(
            f"a request by a login has to come from Loom's own pages, with the header {HEADER}: "
            "load the page anew. A program sends a token instead, as `Authorization: Bearer …`"
        )


def _from_here() -> bool:
    """Whether the browser, if it says, sends it from a page of ours."""
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    origin = request.headers.get("Origin")
    same = origin is None or (origin != "null" and urlsplit(origin).netloc == request.host)
    return site in ("same-origin", "none") and same
