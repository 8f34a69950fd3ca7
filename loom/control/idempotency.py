"""Idempotency keys: a repeated POST answers as the first did."""

from __future__ import annotations

import re
from typing import Any

from flask import Response, g, request

from loom.control.body import fingerprint
from loom.control.problem import Fault, InvalidFields
from loom.telemetry.failpoints import unguarded

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_FORM = re.compile(r"[!-~](?:[ -~]{0,253}[!-~])?")


def of_request(body: Any) -> tuple[str, str]:
    """The key of the current request, apart by caller, method and path, and its fingerprint.

    Both are empty where the request has no key. Raises InvalidFields for a key of another form.
    """
    key = request.headers.get(HEADER)
    if key is None or unguarded("idempotency"):
        return "", ""
    if not _FORM.fullmatch(key):
        raise InvalidFields([Fault(HEADER, "has to be 1 to 255 printable ASCII characters")])
    return f"{g.principal.name} {request.method} {request.path} {key}", fingerprint(body)


def mark(response: Response, *, replayed: bool) -> Response:
    """The response, saying so where an earlier request did the work."""
    if replayed:
        response.headers[REPLAYED] = "true"
    return response
