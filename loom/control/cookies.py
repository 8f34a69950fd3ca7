"""The cookies: of a login, and of the form that leads to one. What is in them is random, and says
nothing but who comes again.
"""

from __future__ import annotations

import secrets

from flask import Response, request

MAX_SECRET = 200


class Jar:
    """Reads and sets the cookies. https: browsers send them by that alone."""

    def __init__(self, *, https: bool) -> None:
        self.https = https
        # The prefix makes browsers refuse the cookie to other hosts of a domain.
        self._name = "__Host-loom_session" if https else "loom_session"

    def session(self) -> str:
        """The secret of the current request's login; empty for none."""
        return _bounded(request.cookies.get(self._name, ""))

    def begin(self, response: Response, secret: str, life_s: float) -> None:
        """Log in."""
        response.set_cookie(
            self._name, secret, max_age=int(life_s), path="/", secure=self.https, httponly=True,
            samesite="Lax",
        )  # fmt: skip

    def end(self, response: Response) -> None:
        """Log out."""
        response.delete_cookie(
            self._name, path="/", secure=self.https, httponly=True, samesite="Lax"
        )

    def form(self) -> str:
        """The secret of the form that the browser was shown; empty for none."""
        return _bounded(request.cookies.get("loom_form", ""))

    def show_form(self, response: Response, secret: str) -> None:
        """Remember the form."""
        response.set_cookie(
            "loom_form", secret, max_age=3_600, path="/login", secure=self.https, httponly=True,
            samesite="Strict",
        )  # fmt: skip


def new_secret() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


def _bounded(value: str) -> str:
    return value if len(value) <= MAX_SECRET else ""
