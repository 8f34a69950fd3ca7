"""The static files of the pages, under an address that changes with any of them."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path

from flask import Blueprint, Response, send_from_directory

from loom.control.operation import Within, operation

ROOT = Path(str(files("loom.control").joinpath("static")))
YEAR_S = 365 * 86_400
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


@cache
def version() -> str:
    """A digest of all static files, so that a browser keeps each for as long as none changes.

    One for all: modules name each other by relative addresses, and so stay within it.
    """
    digest = hashlib.sha256()
    for path in sorted(p for p in ROOT.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def address(name: str) -> str:
    """Where a static file is."""
    return f"/static/{version()}/{name}"


def routes() -> Blueprint:
    """Send static files."""
    assets = Blueprint("assets", __name__)

    @assets.get("/static/<stamp>/<path:name>")
    @operation("A static file of the pages", within=Within.ANYBODY, page=True)
    def send(stamp: str, name: str) -> Response:
        response = send_from_directory(ROOT, name, max_age=YEAR_S)
        kind = TYPES.get(Path(name).suffix)
        if kind:
            response.headers["Content-Type"] = kind
        if stamp == version():
            response.headers["Cache-Control"] = f"public, max-age={YEAR_S}, immutable"
        else:
            # A page from before an upgrade: it gets today's file, and is not to keep it.
            response.headers["Cache-Control"] = "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    return assets
