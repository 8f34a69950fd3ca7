"""The overview: what needs somebody, and the trip as it is now."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response

from loom.control.pages import frame
from loom.control.pages.desk import Desk


def view(desk: Desk) -> Callable[[], Response]:
    """The view of the overview."""

    def overview() -> Response:
        return frame.page("overview.html", projects=desk.projects())

    return overview
