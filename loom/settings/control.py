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
