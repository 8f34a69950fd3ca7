"""One id for each request: taken from it or made, in its logs, its calls and its response."""

from __future__ import annotations

import re
import time

import structlog
from flask import Flask, Response, g, request

from loom.control.access import OPEN
from loom.domain.identity import new_message_id
from loom.telemetry import logs

HEADER = "X-Correlation-Id"
FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
"""What a caller's own id may look like: it stands in headers, logs and git trailers. Any other is
replaced by one of ours."""

log = logs.get(__name__)


def install(app: Flask) -> None:
    """Give every request an id, and log each once when it is answered."""

    def begin() -> None:
        given = request.headers.get(HEADER, "")
        g.correlation_id = given if FORM.fullmatch(given) else new_message_id()
        g.started = time.perf_counter()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(correlation_id=g.correlation_id)

    def tell(response: Response) -> Response:
        response.headers[HEADER] = g.correlation_id
        # A probe every other second would drown the rest.
        level = log.debug if request.path in OPEN else log.info
        level(
            "request_answered",
            method=request.method,
            path=request.path,
            route=request.url_rule.rule if request.url_rule else "",
            status=response.status_code,
            duration_ms=round((time.perf_counter() - g.started) * 1000, 2),
        )
        return response

    def end(_error: BaseException | None) -> None:
        structlog.contextvars.clear_contextvars()

    app.before_request(begin)
    app.after_request(tell)
    app.teardown_request(end)
