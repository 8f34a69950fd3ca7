"""What every service process has: a name for its logs, a log level, and where traces go."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from loom.settings.source import Settings


class ServiceSettings(Settings):
    """LOOM_*: common to every process. instance tells two of one service apart."""

    model_config = SettingsConfigDict(env_prefix="LOOM_")

    instance: str = "1"
    log_level: str = "INFO"
    otlp_endpoint: str = ""
    """Where spans are sent (OTLP over gRPC); empty sends none and still carries the context."""
