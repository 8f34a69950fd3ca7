"""How events are delivered to webhooks."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from loom.settings.source import Settings


class WebhookSettings(Settings):
    """LOOM_WEBHOOKS_*: the connectors service has these.

    allow: networks beside the public internet that may be reached, as `10.1.0.0/16,127.0.0.1`;
    only there may a URL begin with http://. ca_file: PEM of who vouches for certificates there.
    """

    model_config = SettingsConfigDict(env_prefix="LOOM_WEBHOOKS_")

    allow: str = ""
    ca_file: str = ""
    timeout_s: float = Field(default=10.0, gt=0, le=60)
    """For one try in all, from looking up the host to the end of the answer."""
    threads: int = Field(default=8, ge=1, le=64)
    """How many deliveries are under way at once."""
    lease_s: float = Field(default=90.0, gt=0, le=300)
    """After so long a delivery whose deliverer has died goes to another."""

    @field_validator("allow")
    @classmethod
    def _networks(cls, text: str) -> str:
        for part in _parts(text):
            ip_network(part, strict=False)
        return text

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """What allow names."""
        return tuple(ip_network(part, strict=False) for part in _parts(self.allow))


class DeliveringSettings(Settings):
    """LOOM_LEDGER_*: how the deliverer calls the ledger; without a token nothing is delivered."""

    model_config = SettingsConfigDict(env_prefix="LOOM_LEDGER_")

    target: str = "127.0.0.1:8089"
    token: SecretStr = SecretStr("")


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
