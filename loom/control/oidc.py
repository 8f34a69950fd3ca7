"""Logging in by an OpenID Connect provider: authorization code with PKCE, state and nonce.

authlib carries out the protocol and checks the token; what is decided here is which algorithms and
issuer are believed, and what the claims make of somebody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.flask_client import OAuth
from flask import Flask, Response
from joserfc.errors import JoseError
from requests import RequestException

from loom.domain.access import Role
from loom.domain.account import User
from loom.domain.identity import PROJECT_ID
from loom.errors import Invalid, Unauthenticated, Unavailable
from loom.settings.oidc import OidcSettings
from loom.telemetry import logs

SIGNED_BY = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA")
"""Signatures by a key that the provider alone has: none that is no signature, and none by a secret
that others share."""

log = logs.get(__name__)


class Provider:
    """The provider that settings name."""

    def __init__(self, app: Flask, settings: OidcSettings) -> None:
        """Reads the client's secret. Raises Invalid where it cannot be read, or a role is none."""
        self.label = settings.label
        self._settings = settings
        self._roles = dict(read_roles(settings.roles))
        self._client = OAuth(app).register(
            "loom",
            client_id=settings.client_id,
            client_secret=_secret(settings),
            server_metadata_url=f"{settings.issuer.rstrip('/')}/.well-known/openid-configuration",
            client_kwargs={
                "scope": settings.scope,
                "code_challenge_method": "S256",
                "default_timeout": settings.timeout_s,
            },
        )

    @property
    def decides_roles(self) -> bool:
        """Whether its claims say which roles somebody has."""
        return bool(self._roles)

    def begin(self) -> Response:
        """Send the browser to the provider. Raises Unavailable."""
        self._know()
        back = f"{self._settings.url.rstrip('/')}/login/back"
        response: Response = self._client.authorize_redirect(back)
        return response

    def end(self) -> User:
        """Who has come back from there. Raises Unauthenticated, Unavailable."""
        self._know()
        wanted = {
            "iss": {"essential": True, "value": self._settings.issuer},
            "aud": {"essential": True, "value": self._settings.client_id},
            "sub": {"essential": True},
            "exp": {"essential": True},
            "nonce": {"essential": True},
        }
        try:
            found = self._client.authorize_access_token(claims_options=wanted, leeway=30)
        except (AuthlibBaseError, JoseError, ValueError) as error:
            log.info("oidc_refused", why=type(error).__name__)
            raise Unauthenticated(
                "the provider's answer cannot be believed: begin the login anew"
            ) from error
        except RequestException as error:
            raise self._away(error) from error
        claims = found.get("userinfo")
        if not claims:
            raise Unauthenticated("the provider's answer has no id_token: begin the login anew")
        return self.user_of(claims)

    def user_of(self, claims: Mapping[str, Any]) -> User:
        """What the claims make of somebody. Raises Unauthenticated without a name."""
        name = str(claims.get(self._settings.name_claim) or "").lower()
        if not name:
            raise Unauthenticated(
                f"the provider does not say {self._settings.name_claim}, by which Loom names people"
            )
        said = claims.get(self._settings.roles_claim) or ()
        groups = [said] if isinstance(said, str) else [str(each) for each in said]
        everywhere: Role | None = None
        projects: dict[str, Role] = {}
        for project_id, role in (self._roles[group] for group in groups if group in self._roles):
            if not project_id:
                everywhere = role if everywhere is None or role.covers(everywhere) else everywhere
            elif project_id not in projects or role.covers(projects[project_id]):
                projects[project_id] = role
        subject = f"{self._settings.issuer} {claims['sub']}"
        return User(name, everywhere, projects, subject=subject)

    def _know(self) -> None:
        """Read what the provider says of itself, once. Raises Unavailable."""
        try:
            known = self._client.load_server_metadata()
        except (RequestException, ValueError) as error:
            raise self._away(error) from error
        if known.get("issuer") != self._settings.issuer:
            raise Unavailable(
                f"the provider calls itself {str(known.get('issuer'))[:200]!r}, and the settings "
                f"{self._settings.issuer!r}"
            )
        listed = known.get("id_token_signing_alg_values_supported") or ["RS256"]
        known["id_token_signing_alg_values_supported"] = [a for a in listed if a in SIGNED_BY]

    def _away(self, error: Exception) -> Unavailable:
        return Unavailable(
            f"{self._settings.issuer} does not answer ({type(error).__name__}): log in by a "
            "password, or try again"
        )


def read_roles(roles: Mapping[str, str]) -> Mapping[str, tuple[str, Role]]:
    """The project (empty: all) and the role for each value of the claim. Raises Invalid."""
    found = {}
    for group, text in roles.items():
        word, _, project_id = text.partition(":")
        if word not in set(Role) or (project_id and not PROJECT_ID.fullmatch(project_id)):
            raise Invalid(
                f"LOOM_CONTROL_OIDC_ROLES: {text!r} is neither a role ({', '.join(Role)}) nor "
                "<role>:<project>"
            )
        found[group] = (project_id, Role(word))
    return found


def _secret(settings: OidcSettings) -> str:
    try:
        return (
            settings.client_secret_file.read_text().strip() if settings.client_secret_file else ""
        )
    except OSError as error:
        raise Invalid(f"LOOM_CONTROL_OIDC_CLIENT_SECRET_FILE cannot be read: {error}") from error
