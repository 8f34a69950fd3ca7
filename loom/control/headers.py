"""What every answer tells browsers: load nothing from elsewhere, run nothing inline, no frames."""

from __future__ import annotations

from flask import Flask, Response

POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
FIXED = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
YEAR_S = 365 * 86_400


def install(app: Flask, *, https: bool) -> None:
    """Put the headers on every answer; a stricter policy of its own stays."""

    def put(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", POLICY)
        for name, value in FIXED.items():
            response.headers.setdefault(name, value)
        # What one caller gets to see is not to be kept for the next.
        response.headers.setdefault("Cache-Control", "private, no-cache")
        if https:
            response.headers["Strict-Transport-Security"] = f"max-age={YEAR_S}"
        return response

    app.after_request(put)
