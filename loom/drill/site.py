"""What the drill needs of the stack that it makes fail, whatever its size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from loom.settings import BrokerSettings, LedgerClientSettings


class Site(Protocol):
    """A scratch stack: nobody's work is on it. What dies comes back by itself.

    project: the one project of the drill, with agents of its own.
    """

    project: str

    def start(self) -> None:
        """Bring all of it up, and wait until it is healthy."""

    def stop(self) -> None:
        """End every process; the logs stay."""

    def processes(self) -> Mapping[str, int]:
        """The name and pid of every process that runs now."""

    @property
    def urls(self) -> Sequence[str]:
        """Where each control plane listens."""

    @property
    def token(self) -> str:
        """The token of the API."""

    @property
    def management_url(self) -> str:
        """RabbitMQ's management, to be asked as the user of broker_settings()."""

    @property
    def repository(self) -> Path:
        """The project's bare repository, which agents push to."""

    @property
    def effects(self) -> Path:
        """A folder outside of all workspaces that every command of a bead may reach."""

    def broker_settings(self) -> BrokerSettings:
        """The broker as its operator."""

    def ledger_settings(self) -> LedgerClientSettings:
        """The database service as its operator."""

    def healthy(self, timeout_s: float) -> float:
        """Wait until all is well; seconds taken. Raises DeadlineExceeded naming what is not."""

    def log(self, process: str) -> Path:
        """The log of the process."""

    def arm(self, process: str, variables: Mapping[str, str], *, lasting: bool = False) -> None:
        """Start the process anew with these LOOM_DRILL_* variables; returns when it has them.

        It has them until it ends; lasting: until it is armed with none.
        """


def kind_of(process: str) -> str:
    """What a process is, whichever of its kind: `agent` for agent-1 and agent-drill."""
    return process.partition("-")[0]


def named(site: Site, kind: str) -> list[str]:
    """The processes of that kind that run now, in order."""
    return sorted(n for n in site.processes() if kind_of(n) == kind and "/" not in n)
