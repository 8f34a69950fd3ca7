"""What an agent has for its attempts: folders, programs, a sandbox, a keeper of artifacts."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from loom.settings import AgentSettings
from workers.artifacts import Keeper
from workers.mirror import Quota
from workers.sandbox import Mode


@dataclass(frozen=True, slots=True)
class Means:
    """What every attempt of an agent works with.

    root: of the workspaces. mirrors: of the repositories. home: the agent's own, with its keys.
    path: the PATH of every command. readable: what commands may read besides. credentials: where
    git's are, if not in the home. keeper: of artifacts; None where nothing keeps them.
    """

    root: Path
    mirrors: Path
    home: Path
    path: str
    git_timeout_s: float
    sandbox: Mode = Mode.BUBBLEWRAP
    readable: tuple[Path, ...] = ()
    credentials: Path | None = None
    quota: Quota | None = None
    keeper: Keeper | None = None

    @classmethod
    def of(cls, settings: AgentSettings, home: Path, keeper: Keeper | None) -> Self:
        """As the agent is set. home: its own."""
        return cls(
            root=settings.workspace,
            mirrors=settings.mirrors or home / "mirrors",
            home=home,
            path=settings.path,
            git_timeout_s=settings.git_timeout_s,
            sandbox=Mode(settings.sandbox),
            credentials=settings.credentials,
            readable=tuple(Path(each) for each in settings.readable.split(os.pathsep) if each),
            quota=Quota(settings.mirrors_mb, settings.repository_mb),
            keeper=keeper,
        )
