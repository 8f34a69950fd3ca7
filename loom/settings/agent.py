"""A project agent's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from loom.settings.source import Settings


class AgentSettings(Settings):
    """LOOM_AGENT_*: which project it serves, where it works and how much at once."""

    model_config = SettingsConfigDict(env_prefix="LOOM_AGENT_")

    project: str
    workspace: Path
    """The folder under which each attempt gets a workspace of its own; no other agent's."""
    concurrency: int = Field(default=1, ge=1)
    name: str = ""
    """The agent's name in Celery, Flower and the ledger; `agent-<project>@<host>` if empty."""
    path: str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    """The PATH of git and of every command."""
    tools: str = (
        "python3 pytest tox nox ruff flake8 mypy uv node npm pnpm yarn eslint go golangci-lint "
        "cargo rustc java mvn gradle make cmake gcc"
    )
    """The programs on that PATH whose versions it tells, which it asks each for when it starts."""
    sandbox: Literal["bubblewrap", "none"] = "bubblewrap"
    """What the commands of beads run in; `none` for ordinary processes of the agent's user, which
    can read all that the agent can: only where every repository is trusted."""
    readable: str = ""
    """What commands may read beside the system's programs and those of their PATH: folders,
    separated as in PATH."""
    git_timeout_s: float = Field(default=300.0, gt=0)
    """Wall-clock seconds for one run of git."""
    spool: Path | None = None
    """Where results wait that the broker has not confirmed; `spool` in the agent's HOME if unset.
    It has to outlive the agent's process."""
    credentials: Path | None = None
    """Where the project's token or ssh key is, as `loom project credential set` puts it; `git` in
    the agent's HOME if unset."""
    mirrors: Path | None = None
    """Where the cached copies of repositories are, for all agents of this user; `mirrors` in the
    agent's HOME if unset."""
    mirrors_mb: int = Field(default=20_480, ge=0)
    """Megabytes for all of them together; those not in use go first. 0: any size."""
    repository_mb: int = Field(default=4_096, ge=0)
    """Megabytes that one repository may have; a larger one is refused. 0: any size."""
    hold_s: float = Field(default=300.0, ge=0)
    """Seconds after its claim until a bead's message is acknowledged although the bead is still
    being worked on; from then on its lease alone holds it. Well below the broker's
    consumer_timeout."""
    claim_patience_s: float = Field(default=900.0, ge=0)
    """Seconds a task waits for a ledger that is away, before it goes back to its queue; together
    with hold_s below the broker's consumer_timeout, which is 30 minutes where nobody set it."""
    report_every_s: float = Field(default=5.0, gt=0, le=10)
    """Seconds between two reports to the ledger while nothing changes; it counts an agent as lost
    that says nothing for 20 s."""
    stop_after_s: float = Field(default=10.0, ge=0)
    """Seconds that running beads get after SIGTERM, before they go back to their queue."""
