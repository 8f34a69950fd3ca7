"""Where people log in and out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, g, redirect, request

from loom.control import csrf
from loom.control.accounts import Accounts
from loom.control.cookies import Jar, new_secret
from loom.control.identities import Identities
from loom.control.limits import Throttle
from loom.control.oidc import Provider
from loom.control.operation import Within, operation
from loom.control.pages import frame
from loom.control.passwords import LONGEST, Passwords
from loom.domain.account import USER_NAME, NewSession
from loom.domain.audit import Intervention
from loom.domain.identity import new_message_id
from loom.errors import LoomError, Stale, Unauthenticated
from loom.rpc.callers import digest
from loom.telemetry import logs, traces

WRONG = "That name and that password do not belong together."
KEPT_AGENT = 200

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Desk:
    """What a login needs. idle_s, life_s: how long it lasts unused, and at all."""

    ledger: Accounts
    jar: Jar
    identities: Identities
    passwords: Passwords
    throttle: Throttle
    idle_s: float
    life_s: float
    provider: Provider | None = None


def routes(desk: Desk) -> Blueprint:
    """Log in by a password or by the provider, and log out."""
    login = Blueprint("login", __name__)

    @login.get("/login")
    @operation("The page to log in at", within=Within.ANYBODY, page=True)
    def form() -> Response:
        return _form(desk)

    @login.post("/login")
    @operation("Log in by a password", within=Within.ANYBODY, page=True)
    def enter() -> Response:
        secret = desk.jar.form()
        if not secret:
            return _form(desk, 400, "The form had become old. Try again.")
        csrf.check(secret)
        name, password = (
            request.form.get("name", "").strip().lower(),
            request.form.get("password", ""),
        )
        desk.throttle.login(name)
        if not check_password(desk.ledger, desk.passwords, name, password):
            return _form(desk, 401, WRONG, name=name if USER_NAME.fullmatch(name) else "")
        desk.throttle.succeeded(name)
        return _enter(desk, name, "password", request.form.get("next", ""))

    @login.get("/login/with")
    @operation("Log in by the provider", within=Within.ANYBODY, page=True)
    def leave() -> Response:
        if desk.provider is None:
            return _form(desk, 404, "No provider is set up here.")
        return desk.provider.begin()

    @login.get("/login/back")
    @operation("Come back from the provider", within=Within.ANYBODY, page=True)
    def back() -> Response:
        if desk.provider is None:
            return _form(desk, 404, "No provider is set up here.")
        # Only what fails is counted: whoever comes back well has been counted by the provider.
        try:
            user = desk.provider.end()
            by = Intervention(user.name, "came by the provider", g.correlation_id)
            user = desk.ledger.admit_user(user, by, decides_roles=desk.provider.decides_roles)
        except LoomError as error:
            desk.throttle.stranger()
            if isinstance(error, Unauthenticated):
                desk.ledger.note_refusal("", _address(), error.detail[:200], g.correlation_id)
            return _form(desk, error.meaning.http, error.detail)
        return _enter(desk, user.name, "oidc", "")

    @login.post("/logout")
    @operation("Log out", within=Within.SELF, page=True)
    def out() -> Response:
        if g.user:
            by = Intervention(g.user, "logged out", g.correlation_id, traces.traceparent())
            desk.ledger.end_session(g.identity.id, by, user=g.user)
            desk.identities.forget()
        response: Response = redirect("/login", 303)  # type: ignore[assignment]
        desk.jar.end(response)
        return response

    return login


def check_password(ledger: Accounts, passwords: Passwords, name: str, password: str) -> bool:
    """Whether it is that user's password; noted if not. It takes as long where there is no such
    user, and what was given as a name is then told nobody: it may be a password.
    """
    fits = USER_NAME.fullmatch(name) is not None and len(password) <= LONGEST
    kept, known = ledger.get_login(name) if fits else ("", False)
    if not passwords.match(password, kept):
        log.info("login_refused", known=known, address=_address())
        ledger.note_refusal(name if known else "", _address(), "wrong password", g.correlation_id)
        return False
    if passwords.is_old(kept):
        by = Intervention(name, "hashed anew", g.correlation_id)
        try:
            ledger.set_password(name, passwords.hash(password), by, rehashes=kept)
        except Stale:
            log.info("password_changed_meanwhile", user=name)
    return True


def safe_target(text: str) -> str:
    """Where to go after the login: within this site alone."""
    local = text.startswith("/") and not text.startswith(("//", "/\\"))
    plain = not any(char in text for char in "\\\r\n\t") and text.isprintable()
    return text if local and plain else "/"


def _enter(desk: Desk, name: str, method: str, target: str) -> Response:
    # A fresh secret for every login: one that was planted before gets nobody in.
    secret, id_ = new_secret(), new_message_id()
    new = NewSession(
        id_, name, digest(secret), method, _address(), request.user_agent.string[:KEPT_AGENT],
        desk.life_s, min(desk.idle_s, desk.life_s),
    )  # fmt: skip
    by = Intervention(name, f"logged in by {method}", g.correlation_id, traces.traceparent())
    desk.ledger.open_session(new, by)
    log.info("logged_in", user=name, method=method, address=_address())
    response: Response = redirect(safe_target(target), 303)  # type: ignore[assignment]
    desk.jar.begin(response, secret, desk.life_s)
    return response


def _form(desk: Desk, status: int = 200, problem: str = "", **more: Any) -> Response:
    secret = desk.jar.form() or new_secret()
    response = frame.page(
        "login.html", status, problem_words=problem, form_token=csrf.token(secret),
        next=safe_target(request.values.get("next", "")), provider=desk.provider, **more,
    )  # fmt: skip
    response.headers["Cache-Control"] = "no-store"
    desk.jar.show_form(response, secret)
    return response


def _address() -> str:
    return request.remote_addr or ""
