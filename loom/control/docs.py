"""The API's description, and a page to try it on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

from flask import Blueprint, Flask, Response, current_app, jsonify

from loom.clients.representation import API
from loom.control import csrf, openapi
from loom.control.operation import Content, Within, operation
from loom.errors import NotFound

_STATIC = files("loom.control") / "static"
FILES = {
    "swagger-ui.css": _STATIC / "vendor" / "swagger-ui" / "swagger-ui.css",
    "swagger-ui-bundle.js": _STATIC / "vendor" / "swagger-ui" / "swagger-ui-bundle.js",
    "page.css": _STATIC / "docs" / "page.css",
    "page.js": _STATIC / "docs" / "page.js",
    "index.html": _STATIC / "docs" / "index.html",
}
KINDS = {"js": "text/javascript", "css": "text/css", "html": "text/html"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
"""What the page may load: its own files, and pictures within its style sheet."""


def routes(session: Callable[[], str]) -> Blueprint:
    """/api/v1/openapi.json, and /api/docs over it. session: the secret in the cookie of the current
    request, if any: who is logged in tries the API as that.
    """
    docs = Blueprint("docs", __name__)

    @docs.get(f"{API}/openapi.json")
    @operation("Describe the API", within=Within.ANYBODY, answers={200: dict[str, Any]})
    def openapi_json() -> Response:
        return jsonify(_document(current_app._get_current_object()))  # type: ignore[attr-defined]

    @docs.get("/api/docs")
    @operation("Try the API", within=Within.ANYBODY, page=True, answers={200: Content("text/html")})
    def page() -> Response:
        response = _file("index.html")
        if secret := session():
            shown = f'<meta name="csrf-token" content="{csrf.token(secret)}">\n  </head>'.encode()
            response.set_data(response.get_data().replace(b"</head>", shown, 1))
        response.headers["Cache-Control"] = "no-store"
        return response

    @docs.get("/api/docs/<name>")
    @operation(
        "Files of that page", within=Within.ANYBODY, page=True, answers={200: Content("*/*")}
    )
    def file(name: str) -> Response:
        return _file(name)

    return docs


@cache
def _document(app: Flask) -> dict[str, Any]:
    return openapi.document(app)


def _file(name: str) -> Response:
    if name not in FILES:
        raise NotFound(f"the page at /api/docs has no file {name[:80]!r}")
    kind = KINDS[name.rpartition(".")[2]]
    response = Response(FILES[name].read_bytes(), content_type=f"{kind}; charset=utf-8")
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response
