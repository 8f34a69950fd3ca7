"""What the drill needs of the stack that it makes fail, whatever its size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from loom.settings import BrokerSettings, LedgerClientSettings


class Site(Protocol):
    """A scratch stack: nobody's work is on it. Its processes come back by themselves.

    project: the one project of the drill; repository: its bare repository, which agents push to;
    effects: a folder that every command of a bead may write to, outside of all workspaces.
    """

    project: str

    def start(self) -> None:
        """Bring all of it up, with the project and its agents, and wait until it is healthy."""

    def stop(self) -> None:
        """End every process and remove every file."""

    def processes(self) -> Mapping[str, int]:
        """The name and pid of every process that runs now."""

    @property
    def urls(self) -> tuple[str, ...]:
        """Where each control plane listens."""

    @property
    def token(self) -> str:
        """The token of the API."""

    @property
    def management_url(self) -> str:
        """RabbitMQ's management, to be asked as the user of broker_settings()."""

    @property
    def repository(self) -> Path:
        """The project's bare repository."""

    @property
    def effects(self) -> Path:
        """The folder for the accountant's own counter."""

    def broker_settings(self) -> BrokerSettings:
        """The broker as its operator."""

    def ledger_settings(self) -> LedgerClientSettings:
        """The database service as its operator."""

    def healthy(self, timeout: float) -> bool:
        """Wait until every process is well; False if that takes longer than timeout seconds."""

    def arm(self, process: str, variables: Mapping[str, str]) -> None:
        """Start the process anew with these LOOM_DRILL_* variables, once.

        Returns when it runs with them. When it ends it is started again without them, unless
        arm is called with variables that hold LOOM_DRILL_UNGUARDED: those stay until the process
        is armed with none.
        """
