"""The settings by which a drill makes a process fail on purpose; nobody else sets them."""

from __future__ import annotations

from pydantic_settings import SettingsConfigDict

from loom.settings.source import Settings


class DrillSettings(Settings):
    """LOOM_DRILL_*: refused unless scratch says that nobody's work is on this stack.

    failpoints: as `ingester.recorded=kill@3,dispatcher.leased=pause@1`. unguarded: names of guards
    that are switched off, so that a drill can show that it would notice.
    """

    model_config = SettingsConfigDict(env_prefix="LOOM_DRILL_")

    scratch: bool = False
    failpoints: str = ""
    unguarded: str = ""
