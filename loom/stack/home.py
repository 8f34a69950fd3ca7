"""Where one stack keeps everything it has: LOOM_HOME and the folders in it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic_settings import SettingsConfigDict

from loom.errors import NotFound
from loom.settings.source import Settings
from loom.stack.ports import DEFAULT_BASE, Ports

DEFAULT_NAME = ".loom"


class StackSettings(Settings):
    """LOOM_*: where the stack lives, where it listens, and whose processes it runs as root.

    home: empty for the `.loom` of the repository around the current folder. port_base: 0 for the
    one it was last started with.
    """

    model_config = SettingsConfigDict(env_prefix="LOOM_")

    home: str = ""
    port_base: int = 0
    service_user: str = "daemon"
    agent_user: str = "nobody"
    log_level: str = "INFO"
    otlp_endpoint: str = ""


@dataclass(frozen=True, slots=True)
class Home:
    """The folders and files of one stack."""

    path: Path

    @property
    def secrets(self) -> Path:
        """One file a secret, for the owner of the stack alone."""
        return self.path / "secrets"

    @property
    def etc(self) -> Path:
        """What is rendered: configuration, and a settings file for each service."""
        return self.path / "etc"

    @property
    def agent_programs(self) -> Path:
        """The supervisor programs of agents, which the fleet writes."""
        return self.etc / "agents"

    @property
    def posts(self) -> Path:
        """Which agents are wanted here, beside one for each project."""
        return self.path / "posts"

    @property
    def logs(self) -> Path:
        """`<service>.log` of each."""
        return self.path / "logs"

    @property
    def run(self) -> Path:
        """Pid files, and the working directory of services."""
        return self.path / "run"

    @property
    def postgres(self) -> Path:
        """PostgreSQL's data."""
        return self.path / "data" / "postgres"

    @property
    def rabbitmq(self) -> Path:
        """RabbitMQ's data, and its HOME with the Erlang cookie."""
        return self.path / "data" / "rabbitmq"

    @property
    def workspaces(self) -> Path:
        """A folder for each project's agents."""
        return self.path / "workspaces"

    @property
    def demo(self) -> Path:
        """What the demo makes."""
        return self.path / "demo"

    @property
    def tokens_file(self) -> Path:
        """Who may call the database service: a line `<caller> <sha256 of its token>` each."""
        return self.etc / "ledger-tokens"

    @property
    def connectors_tokens_file(self) -> Path:
        """Who may call the connectors service, in the same form."""
        return self.etc / "connectors-tokens"

    @property
    def artifacts(self) -> Path:
        """What attempts left, where it is kept on this disk."""
        return self.path / "data" / "artifacts"

    @property
    def control_own(self) -> Path:
        """What the operator writes for the control plane: single sign-on, https, limits."""
        return self.secrets / "control.env"

    @property
    def connectors_own(self) -> Path:
        """What the operator writes for the connectors service: its limits, and a bucket."""
        return self.secrets / "connectors.env"

    @property
    def supervisor_config(self) -> Path:
        """supervisord's configuration."""
        return self.etc / "supervisord.conf"

    @property
    def supervisor_pid(self) -> Path:
        """supervisord's pid file."""
        return self.run / "supervisord.pid"

    @property
    def _record(self) -> Path:
        return self.path / "stack.json"

    def settings_file(self, service: str) -> Path:
        """The settings that the service reads, secrets included."""
        return self.etc / f"{service}.env"

    def log(self, service: str) -> Path:
        """The log of the service."""
        return self.logs / f"{service}.log"

    def secret(self, name: str) -> str:
        """The secret of that name; raises NotFound if the stack was never started here."""
        try:
            return (self.secrets / name).read_text().strip()
        except FileNotFoundError as error:
            raise NotFound(
                f"{self.path} has no secret {name!r}: no stack was started here. "
                "Run `loom up`, or set LOOM_HOME to the folder of the one you mean",
                secret=name,
            ) from error

    def ports(self) -> Ports:
        """The ports that the stack was last started with; raises NotFound if it never was."""
        try:
            return Ports(int(json.loads(self._record.read_text())["port_base"]))
        except FileNotFoundError as error:
            raise NotFound(
                f"no stack was ever started in {self.path}. "
                "Run `loom up`, or set LOOM_HOME to the folder of the one you mean",
                home=str(self.path),
            ) from error

    def remember(self, ports: Ports) -> None:
        """Store the ports, so that later commands need LOOM_HOME alone."""
        self._record.write_text(json.dumps({"port_base": ports.base}) + "\n")
        self._record.chmod(0o644)

    def ports_or_default(self, wanted: int = 0) -> Ports:
        """The ports wanted, else those of the last start, else the default's."""
        if wanted:
            return Ports(wanted)
        return self.ports() if self._record.exists() else Ports(DEFAULT_BASE)


def find_home(configured: str, cwd: Path) -> Home:
    """The home that is configured, else the nearest `.loom` above cwd, else the repository's own.

    Outside of every repository it is `.loom` in cwd.
    """
    if configured:
        return Home(Path(os.path.abspath(Path(configured).expanduser())))  # noqa: PTH100
    above = (cwd, *cwd.parents)
    for folder in above:
        if (folder / DEFAULT_NAME / "stack.json").is_file():
            return Home(folder / DEFAULT_NAME)
    root = next((folder for folder in above if (folder / ".git").exists()), cwd)
    return Home(root / DEFAULT_NAME)


def as_settings_file(values: Mapping[str, str | int]) -> str:
    """The text of a settings file; values are quoted, since a password may hold anything."""
    lines = []
    for key, value in values.items():
        quoted = str(value).replace("\\", "\\\\").replace("'", "\\'")
        lines.append(f"{key}='{quoted}'\n")
    return "".join(lines)
