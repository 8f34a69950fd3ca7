"""A project agent's settings."""

from __future__ import annotations

from pathlib import Path

from pydantic_settings import SettingsConfigDict

from loom.settings.source import Settings


class AgentSettings(Settings):
    """LOOM_AGENT_*: which project it serves, where it works and how much at once."""

    model_config = SettingsConfigDict(env_prefix="LOOM_AGENT_")

    project: str
    workspace: Path
    """The folder under which each attempt gets a workspace of its own."""
    concurrency: int = 1
    name: str = ""
    """The agent's name in Celery, Flower and the ledger; `agent-<project>@<host>` if empty."""
