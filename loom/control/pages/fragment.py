"""A page that refreshes itself asks for what is within its frame alone."""

from __future__ import annotations

from flask import request

HEADER = "X-Fragment"


def asked_for() -> bool:
    """Whether the page of this request is there already, and asks for its parts anew."""
    return HEADER in request.headers
