"""The way in, put together: the door, the limits, the cookies and the login."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from flask import Blueprint, Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from loom.control import access, csrf, headers, limits, login, me, tokens, trail, users
from loom.control.accounts import Accounts
from loom.control.cookies import Jar
from loom.control.identities import Identities
from loom.control.ledger import Ledger
from loom.control.limits import Throttle
from loom.control.oidc import Provider
from loom.control.pages import frame
from loom.control.passwords import Passwords
from loom.settings import ControlSettings
from loom.settings.oidc import OidcSettings


@dataclass(frozen=True, slots=True)
class Entrance:
    """What the routes of people and tokens need of the way in."""

    identities: Identities
    passwords: Passwords
    throttle: Throttle
    pages: Blueprint

    def routes(self, ledger: Accounts) -> tuple[Blueprint, ...]:
        """What the API has for people, tokens, logins and the trail."""
        return (
            users.routes(ledger, self.identities, self.passwords),
            tokens.routes(ledger, self.identities),
            me.routes(ledger, self.identities, self.passwords, self.throttle),
            trail.routes(ledger),
        )


def install(
    app: Flask, ledger: Ledger, settings: ControlSettings, oidc: OidcSettings | None,
    passwords: Passwords | None,
) -> Entrance:  # fmt: skip
    """Put everything before the views that decides who may call them. passwords: hashed at another
    cost than the usual.
    """
    jar, throttle = Jar(https=settings.https), Throttle()
    service = settings.token_sha256.get_secret_value()
    identities = Identities(ledger, service)
    if settings.proxies:
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=settings.proxies, x_proto=settings.proxies
        )
    headers.install(app, https=settings.https)
    access.install(app, ledger, identities, jar.session, throttle, wanted=frame.wanted)
    limits.install(app, settings.requests_per_minute)
    provider = None
    if oidc is not None and oidc.issuer:
        # Of a login at the provider that is under way; nothing else is in Flask's own session.
        app.config.update(
            SECRET_KEY=hmac.new(service.encode(), b"loom oidc", hashlib.sha256).hexdigest(),
            SESSION_COOKIE_NAME="loom_oidc",
            SESSION_COOKIE_PATH="/login",
            SESSION_COOKIE_SAMESITE="Lax",
            SESSION_COOKIE_SECURE=settings.https,
        )
        provider = Provider(app, oidc)
    app.jinja_env.globals.update(
        csrf_token=_csrf_token, principal=access.principal, user=access.user
    )
    secrets = passwords or Passwords()
    desk = login.Desk(
        ledger, jar, identities, secrets, throttle, settings.session_idle_s,
        settings.session_life_s, provider,
    )  # fmt: skip
    return Entrance(identities, secrets, throttle, login.routes(desk))


def _csrf_token() -> str:
    """What an unsafe request of the page has to show; empty for who has no login."""
    secret = access.session_secret()
    return csrf.token(secret) if secret else ""
