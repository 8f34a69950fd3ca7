"""A project: a git repository with its rules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

DEFAULT_TIMEOUT_S = 900
MAX_TIMEOUT_S = 86_400
DEFAULT_QUEUE_WINDOW = 32
"""How many beads of a project may stand in its queue at once: the ledger keeps the order of the
rest."""


@dataclass(frozen=True, slots=True)
class Project:
    """A git repository with its rules.

    repository: what `git clone` takes. test_command: argv, run at the root of the checkout.
    timeout_s: wall-clock seconds for one command. queue_window: how many of its beads may be on
    the broker at once.
    """

    id: str
    repository: str
    name: str = ""
    default_branch: str = "main"
    test_command: tuple[str, ...] = ()
    timeout_s: int = DEFAULT_TIMEOUT_S
    queue_window: int = DEFAULT_QUEUE_WINDOW
    created_at: datetime | None = None
    soft_timeout_s: int = 0
    """Seconds after which a command is asked to end (SIGTERM), before timeout_s; 0: never."""
