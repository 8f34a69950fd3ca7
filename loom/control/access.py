"""The door: who asks, and whether the view's declaration lets them in. What declares nothing is
closed to everybody.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import structlog
from flask import Flask, Response, current_app, g, redirect, request, url_for

from loom.control import csrf
from loom.control.identities import Identities
from loom.control.operation import Operation, Within, of
from loom.domain.access import Principal, Role
from loom.domain.bead import Bead
from loom.domain.identity import check_bead_id
from loom.domain.presence import project_of_agent
from loom.errors import Forbidden, Invalid, NotFound, Unauthenticated
from loom.messaging.deadletter import DeadLetter

OPEN = frozenset({"/healthz", "/readyz"})
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
NO_ROLE = Principal("")
"""Somebody of whom nothing is known."""

Cookie = Callable[[], str]
"""The secret in the cookie of the current request; empty for none."""


class Places(Protocol):
    """The calls that say in which project something is."""

    def get_bead(self, bead_id: str) -> Bead:
        """One bead."""

    def get_dead_letter(self, letter_id: int) -> DeadLetter:
        """One dead letter."""

    def list_dead_letters(self, *, page_size: int = 50, fingerprint: str = "") -> Any:
        """Dead letters."""


class Throttle(Protocol):
    """Counts who comes with what nobody knows."""

    def stranger(self) -> None:
        """Count the current request; raises Exhausted."""


def install(
    app: Flask, ledger: Places, identities: Identities, cookie: Cookie, throttle: Throttle, *,
    wanted: Callable[[], bool],
) -> None:  # fmt: skip
    """Let each request in or refuse it. wanted: whether a person's browser asks, which is sent to
    the login.
    """

    def check() -> Response | None:
        declared = _declared(app)
        if declared is not None and declared.within is Within.ANYBODY:
            return None
        try:
            who = _identify(identities, cookie)
        except Unauthenticated:
            throttle.stranger()
            if wanted() and request.method == "GET" and "login.form" in app.view_functions:
                there = request.full_path.rstrip("?")
                g.to_login = True
                return redirect(url_for("login.form", next=there))  # type: ignore[return-value]
            raise
        g.principal = who
        structlog.contextvars.bind_contextvars(actor=who.name)
        if request.routing_exception is None:
            _admit(who, declared, ledger)
        return None

    app.before_request(check)


def principal() -> Principal:
    """Who makes the current request; somebody without any role where nobody was asked."""
    return g.get("principal") or NO_ROLE


def user() -> str:
    """The person whose session the current request has; empty for a token."""
    return str(g.get("user", ""))


def session_secret() -> str:
    """The secret in the cookie that authenticated the current request; empty for none."""
    return str(g.get("session_secret", ""))


def refuse(detail: str) -> NoReturn:
    """Refuse the current request: who asks is known, and may not. Raises Forbidden."""
    g.refused = True
    raise Forbidden(detail)


def check_may(needed: Role, project_id: str = "") -> None:
    """Raise as the door does, unless who asks may do that in the project, or in every one."""
    who = principal()
    if who.may(needed, project_id):
        return
    if project_id and not who.may(Role.VIEWER, project_id):
        raise no_project(project_id)
    where = f"in project {project_id}" if project_id else "in every project"
    refuse(f"{who.name} may not do that: it needs the role {needed.value} {where}")


def no_project(project_id: str) -> NotFound:
    """The error for a project that is not there, or that who asks does not get to see."""
    return NotFound(
        f"there is no project {project_id}: POST /api/v1/projects makes one", project_id=project_id
    )


def _declared(app: Flask) -> Operation | None:
    return of(app.view_functions[request.endpoint]) if request.endpoint else None


def _identify(identities: Identities, cookie: Cookie) -> Principal:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme:
        if scheme.lower() != "bearer":
            raise _unknown()
        try:
            found = identities.of_token(token.strip())
        except NotFound as error:
            raise _unknown() from error
    else:
        secret = cookie()
        if not secret:
            raise _unknown()
        try:
            found = identities.of_session(secret)
        except NotFound as error:
            raise _unknown() from error
        g.session_secret = secret
        if request.method not in SAFE:
            csrf.check(secret)
    g.identity, g.user = found, found.user
    return found.principal


def _unknown() -> Unauthenticated:
    return Unauthenticated(
        "send the header `Authorization: Bearer <token>`; `loom token show` prints the local "
        "stack's, and `loom token create` makes others"
    )


def _admit(who: Principal, declared: Operation | None, ledger: Places) -> None:
    if declared is None:
        current_app.logger.error("route_without_declaration")
        refuse(f"{request.path} is closed to everybody: its code does not declare who may call it")
    if declared.within is Within.SELF:
        return
    needed = declared.needs
    if who.may(needed):
        return
    if declared.within is Within.ALL:
        check_may(needed)
    if declared.within is Within.SOME:
        if not any(role.covers(needed) for role in who.projects.values()):
            refuse(
                f"{who.name} may not do that: it needs the role {needed.value} in some project; "
                "`loom user grant` gives roles"
            )
        return
    project_id, missing = _place(declared.within, ledger)
    if not who.may(Role.VIEWER, project_id):
        raise missing
    check_may(needed, project_id)


def _place(within: Within, ledger: Places) -> tuple[str, NotFound]:
    """The project that the address leads to, and the error for whoever may not see it: the one that
    they would get if it were not there. Raises NotFound where it leads to none.
    """
    named = request.view_args or {}
    if within is Within.PROJECT:
        project_id = str(named["project_id"])
        return project_id, no_project(project_id)
    if within is Within.AGENT:
        name = str(named["name"])
        missing = NotFound(f"there is no agent {name}: `loom agent list` shows them", name=name)
        return _or(missing, lambda: project_of_agent(name)), missing
    if within is Within.BEAD:
        bead_id = str(named["bead_id"])
        missing = NotFound(f"there is no bead {bead_id}", bead_id=bead_id)
        return _or(missing, lambda: ledger.get_bead(check_bead_id(bead_id)).project_id), missing
    if within is Within.LETTER:
        letter_id = min(int(named["letter_id"]), 2**63 - 1)
        missing = NotFound(f"there is no dead letter {letter_id}", letter_id=str(letter_id))
        return _or(missing, lambda: ledger.get_dead_letter(letter_id).project_id), missing
    fingerprint = str(named["fingerprint"])
    missing = NotFound(f"there is no group of dead letters {fingerprint[:80]}")
    return _or(missing, lambda: _of_group(ledger, fingerprint, missing)), missing


def _of_group(ledger: Places, fingerprint: str, missing: NotFound) -> str:
    """The project of a group's letters; the fingerprint is of one project's alone."""
    letters = ledger.list_dead_letters(page_size=1, fingerprint=fingerprint)
    if not letters.items:
        raise missing
    return str(letters.items[0].project_id)


def _or(missing: NotFound, find: Callable[[], str]) -> str:
    try:
        return find()
    except (NotFound, Invalid) as error:
        raise missing from error
