"""The frame around every page: the layout, what templates may use, and how a page refreshes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, TypeVar

from flask import Flask, Response, current_app, g, make_response, render_template, request

from loom import __version__
from loom.control import access, csrf, visible
from loom.control.operation import Operation, Within
from loom.control.pages import assets, fragment, menu, words
from loom.control.pages.desk import Desk
from loom.domain.access import Principal, Role
from loom.domain.event import TYPES

T = TypeVar("T")
NEXT_STEPS = {
    "not_found": "It may have been deleted, or the address has a slip in it.",
    "forbidden": "Ask an admin of Loom for a role that allows it.",
    "unauthenticated": "Log in, and come back.",
    "unavailable": "It comes back by itself. This page tries again every few seconds; "
    "`loom status` on the host says what is being waited for.",
    "deadline": "It is busy. This page tries again every few seconds.",
    "exhausted": "It is busy. This page tries again every few seconds.",
    "internal": "Try again. If it stays, give the correlation id to whoever runs Loom: "
    "`loom logs` finds it.",
}
KEPT = ("Allow", "Retry-After", "WWW-Authenticate")
"""Headers of a problem document that its page has too."""
AGAIN = frozenset({"unavailable", "deadline", "exhausted"})
"""Errors after which the page tries again by itself."""


def install(app: Flask, desk: Desk) -> None:
    """Give templates what they use."""
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    for each in (
        words.ago, words.exact, words.clock, words.iso, words.span, words.size, words.number,
        words.short, words.coded,
    ):  # fmt: skip
        app.jinja_env.filters[each.__name__] = each
    app.jinja_env.globals.update(
        asset=assets.address, may=may, version=__version__, outside=desk.links,
        menu=lambda: menu.shown(current_app, open_to=_open_to), here=_here, who=who,
        csrf_token=csrf_token,
        event_types=" ".join(TYPES),
    )  # fmt: skip


def wanted() -> bool:
    """Whether the request comes from a person's browser, which reads HTML rather than JSON."""
    if request.path.startswith("/api/"):
        return False
    if fragment.asked_for():
        return True
    accepted = request.accept_mimetypes
    return accepted["text/html"] > accepted["application/json"]


def page(template: str, status: int = 200, **context: Any) -> Response:
    """The page, or what is within its frame for one that refreshes itself."""
    refreshes = fragment.asked_for()
    layout = "fragment.html" if refreshes else "base.html"
    response = make_response(render_template(template, layout=layout, **context), status)
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Vary"] = f"Accept, Cookie, {fragment.HEADER}"
    if refreshes and status == 200:
        response.add_etag()
        response.make_conditional(request)
    return response


def shown(answer: Response) -> Response:
    """The page that says what went wrong and what to do about it; the problem document itself for
    a program.
    """
    if not wanted():
        return answer
    document = json.loads(answer.get_data())
    code = document["code"]
    response = page(
        "problem.html", answer.status_code, problem=document,
        next_step=NEXT_STEPS.get(code, ""), again=code in AGAIN,
    )  # fmt: skip
    kept = {name: value for name, value in answer.headers.items() if name in KEPT}
    response.headers.update(kept)
    return response


def may(role: str, project_id: str = "") -> bool:
    """Whether who looks may do what needs the role; the API decides again when they do it."""
    principal = g.get("principal")
    return not isinstance(principal, Principal) or principal.may(Role(role), project_id)


def who() -> str:
    """Whose page it is, by name; empty for somebody who has not logged in."""
    return access.user() or access.principal().name


def csrf_token() -> str:
    """What a request of this page shows to be one of ours; empty where no cookie let it in."""
    secret = access.session_secret()
    return csrf.token(secret) if secret else ""


def mine(items: Iterable[T], of: Callable[[T], str] = attrgetter("id")) -> tuple[T, ...]:
    """Those that belong to projects which whoever looks may see. of: the project of one."""
    within = visible.scope()
    return tuple(each for each in items if not within or of(each) in within)


def json_for_page(value: Any) -> str:
    """JSON for a `data-` attribute; the template escapes it."""
    return json.dumps(value, separators=(",", ":"))


def _here(path: str) -> bool:
    """Whether the page belongs to that entry of the menu."""
    return menu.entry_of(request.path) == path


def _open_to(declared: Operation) -> bool:
    """Whether who looks may open such a page; what is within single projects shows what it can."""
    return declared.within is not Within.ALL or may(declared.needs)
