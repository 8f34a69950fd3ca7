"""Where settings come from: the environment, and the file that LOOM_SETTINGS_FILE names."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from loom.errors import Invalid

SETTINGS_FILE = "LOOM_SETTINGS_FILE"


class Settings(BaseSettings):
    """Frozen; a variable of the environment wins over the same name in the settings file."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)


S = TypeVar("S", bound=Settings)


def load(kind: type[S], default_file: Path | None = None) -> S:
    """Read the settings of one kind.

    default_file: read where LOOM_SETTINGS_FILE names none; it need not exist.
    Raises Invalid naming every variable that is missing or wrong; values are not shown, since
    some are secret.
    """
    prefix = kind.model_config.get("env_prefix", "")
    try:
        return kind(_env_file=os.environ.get(SETTINGS_FILE) or default_file)
    except ValidationError as error:
        faults = "; ".join(
            f"{prefix}{'_'.join(str(part) for part in fault['loc'])}".upper() + f": {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise Invalid(
            f"these settings are missing or wrong: {faults}. Set them in the environment or in "
            f"the file that {SETTINGS_FILE} names"
        ) from error
