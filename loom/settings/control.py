"""The control plane's settings."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from loom.settings.source import Settings


class ControlSettings(Settings):
    """LOOM_CONTROL_*. token_sha256: the hash of the token that API calls must carry."""

    model_config = SettingsConfigDict(env_prefix="LOOM_CONTROL_")

    listen: str = "127.0.0.1:8080"
    token_sha256: SecretStr
    threads: int = 16
    followers: int = Field(default=64, ge=1, le=900)
    """Readers that may follow logs at once, each with a thread of its own beside the others."""
    max_body_bytes: int = 256 * 1024
    flower_url: str = Field(default="", pattern=r"^(https?://[^\s\"'<>]+)?$")
    broker_url: str = Field(default="", pattern=r"^(https?://[^\s\"'<>]+)?$")
    """Where a browser finds Flower and RabbitMQ's own pages; empty: the pages lead to neither."""
    https: bool = False
    """Whether browsers come by https, by way of a proxy: cookies are then sent by that alone."""
    proxies: int = Field(default=0, ge=0, le=5)
    """Proxies in front whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    requests_per_minute: int = Field(default=30_000, ge=0)
    """What one token or session may ask for; 0: no limit."""
    session_idle_s: float = Field(default=12 * 3_600, gt=0)
    """A login ends when it has been unused for so long."""
    session_life_s: float = Field(default=7 * 86_400, gt=0, le=366 * 86_400)
    """A login ends then, however much it is used."""
