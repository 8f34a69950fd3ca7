"""Versions as ETags: what a caller has seen, and edits that are meant for what they have seen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Response, request

from loom.errors import PreconditionFailed, PreconditionRequired, Stale

HEADER = "If-Match"
ANY = 0
"""The version of an edit that is meant for whichever there is."""

_FORM = re.compile(r'"([1-9][0-9]{0,17})"')


def expected(named: int = ANY) -> int:
    """The version that the current request is meant for; ANY where it says `*`.

    named: as its body says, where it may. Raises PreconditionRequired for a request that says
    nothing, and PreconditionFailed for a tag that Loom never gave.
    """
    tag = request.headers.get(HEADER, "").strip()
    if not tag:
        if named:
            return named
        raise PreconditionRequired(
            f"say which version the edit is meant for: the header `{HEADER}` takes the ETag of a "
            "GET, or `*` for whichever it has"
        )
    if tag == "*":
        return named
    match = _FORM.fullmatch(tag)
    if match is None:
        raise PreconditionFailed(
            f"{HEADER} is {tag[:80]!r}, and that is no ETag of this: GET it, and pass its ETag on"
        )
    return int(match[1])


@contextmanager
def failing() -> Iterator[None]:
    """Tell a version that is gone as HTTP does, where the request gave it as HTTP does."""
    try:
        yield
    except Stale as error:
        if request.headers.get(HEADER, "").strip() in ("", "*"):
            raise
        raise PreconditionFailed(error.detail, **error.data) from error


def tagged(response: Response, version: int) -> Response:
    """The response with the version as its ETag; nothing but that where the caller has it."""
    response.set_etag(str(version))
    if request.method in ("GET", "HEAD") and request.if_none_match.contains(str(version)):
        response.status_code = 304
        response.set_data(b"")
        response.headers.pop("Content-Type", None)
        response.headers.pop("Content-Length", None)
    return response
