"""Every error as a problem document (RFC 9457)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from flask import Flask, Response, g, json, request
from werkzeug.exceptions import HTTPException

from loom.errors import BY_CODE, MEANINGS, Internal, Invalid, LoomError
from loom.telemetry import logs

MIME = "application/problem+json"
TYPE = "urn:loom:problem:"
RETRY_AFTER_S = {"exhausted": 1, "unavailable": 2, "deadline": 1}
"""Codes after which the same request may do, and how many seconds to wait first."""

OF_STATUS = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one field. field: its path, as `context.patch` or `3.title`."""

    field: str
    message: str


class InvalidFields(Invalid):
    """One or more fields of a request break their rules."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        first = f"{faults[0].field}: {faults[0].message}" if faults[0].field else faults[0].message
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(f"{first}{more}. Nothing was stored")
        self.faults = tuple(faults)


def told_as(error: LoomError, *, known_caller: bool) -> str:
    """The code that the caller is told: a fault of Loom's own is internal, whatever it was.

    That the ledger refuses the control plane's own token, say, is no business of the caller's.
    """
    if error.code in {"unauthenticated", "forbidden"}:
        return "internal" if known_caller else error.code
    ours = error.meaning.http >= 500 and error.code not in RETRY_AFTER_S
    return "internal" if ours else error.code


def document(error: LoomError, code: str, instance: str, correlation_id: str) -> dict[str, object]:
    """The problem document of an error, told as that code."""
    detail = error.detail
    if code == "internal":
        detail = f"Loom's log has the cause under the correlation id {correlation_id}"
    body: dict[str, object] = {
        "type": TYPE + code,
        "title": MEANINGS[code].title,
        "status": MEANINGS[code].http,
        "detail": detail,
        "instance": instance,
        "code": code,
        "correlation_id": correlation_id,
    }
    if isinstance(error, InvalidFields):
        body["errors"] = [{"field": f.field, "message": f.message} for f in error.faults]
    elif code == "invalid" and error.data.get("field"):
        body["errors"] = [{"field": error.data["field"], "message": error.detail}]
    return body


def answer(error: LoomError, headers: Mapping[str, str] | None = None) -> Response:
    """The response to the current request that says what went wrong."""
    code = told_as(error, known_caller=bool(g.get("principal")) and not g.get("refused"))
    if code == "internal":
        log.error("request_failed", code=error.code, detail=error.detail, **error.data)
    body = document(error, code, request.path, g.get("correlation_id", ""))
    response = Response(json.dumps(body), MEANINGS[code].http, mimetype=MIME)
    response.headers.update(headers or {})
    if code in RETRY_AFTER_S:
        response.headers["Retry-After"] = error.data.get("retry_after_s", str(RETRY_AFTER_S[code]))
    if code == "unauthenticated":
        response.headers["WWW-Authenticate"] = 'Bearer realm="loom"'
    return response


def of_http(error: HTTPException) -> LoomError:
    """Loom's error for one of Flask's own: no such route, no such method, a body too large."""
    status = error.code or 500
    code = OF_STATUS.get(status, "bad_request" if status < 500 else "internal")
    words = {
        "not_found": f"there is nothing at {request.path}; GET / says what is where",
        "method_not_allowed": f"{request.path} does not take {request.method}; the header Allow "
        "says what it takes",
        "too_large": f"the body is larger than {request.max_content_length} bytes. Nothing was "
        "stored: file fewer beads at once, or a smaller patch",
    }
    return BY_CODE[code](words.get(code) or error.description or error.name)


def install(app: Flask, shown: Callable[[Response], Response] = lambda answer: answer) -> None:
    """Answer every error of the app with a problem document. shown: makes a page of it where one
    is wanted.
    """

    def known(error: LoomError) -> Response:
        return shown(answer(error))

    def http(error: HTTPException) -> Response:
        headers = {key: value for key, value in error.get_headers() if key == "Allow"}
        return shown(answer(of_http(error), headers))

    def fault(_error: Exception) -> Response:
        log.exception("request_crashed")
        return shown(answer(Internal("an exception that nothing handles; see request_crashed")))

    app.register_error_handler(LoomError, known)
    app.register_error_handler(HTTPException, http)
    app.register_error_handler(Exception, fault)
