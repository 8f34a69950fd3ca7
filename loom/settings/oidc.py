"""Who else vouches for people: an OpenID Connect provider."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from loom.settings.source import Settings

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class OidcSettings(Settings):
    """LOOM_CONTROL_OIDC_*. Without an issuer, people log in by a password alone.

    url: Loom's own address as browsers know it; the provider sends them back to <url>/login/back.
    roles: JSON, from a value of the claim to a role in every project (`{"staff": "viewer"}`) or in
    one (`{"shop-team": "operator:shop"}`). Without any, Loom's own grants decide.
    """

    model_config = SettingsConfigDict(env_prefix="LOOM_CONTROL_OIDC_")

    issuer: str = ""
    client_id: str = ""
    client_secret_file: Path | None = None
    url: str = ""
    label: str = "single sign-on"
    scope: str = "openid profile email"
    name_claim: str = "preferred_username"
    roles_claim: str = "groups"
    roles: dict[str, str] = Field(default_factory=dict)
    timeout_s: float = 5.0

    @model_validator(mode="after")
    def _is_whole(self) -> OidcSettings:
        if not self.issuer:
            return self
        if not (self.client_id and self.client_secret_file and self.url):
            raise ValueError("an issuer needs client_id, client_secret_file and url beside it")
        where = urlsplit(self.issuer)
        if where.scheme != "https" and where.hostname not in LOOPBACK:
            raise ValueError("issuer has to be an https address")
        return self
