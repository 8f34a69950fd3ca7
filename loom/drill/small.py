"""The small site: `loom up`'s own stack, one of each part, for drills that have to be short."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from loom.clients.control import ControlClient
from loom.domain.project import Project
from loom.drill import origin
from loom.errors import DeadlineExceeded, LoomError
from loom.settings import BrokerSettings, LedgerClientSettings
from loom.stack import credentials, rabbitmq
from loom.stack.home import Home, as_settings_file
from loom.stack.lifecycle import Stack
from loom.stack.observe import Observer, tail
from loom.stack.ports import HOST, Ports

LEASES = {"LOOM_DATABASE_LEASE_S": "6", "LOOM_DATABASE_OUTBOX_LEASE_S": "4"}
"""Short, so that what waits for the end of a lease is seen within a drill."""
UNCONFINED = {"LOOM_AGENT_SANDBOX": "none"}
"""Commands count their runs in a file outside of their workspace."""
START_S = 90.0
LOOK_S = 0.3
LAST_LINES = 20
ARMED = (b'"failpoints_armed"', b'"guards_are_off"')
"""What a process logs that has read what the drill wants of it."""


class Small:
    """A stack of one home on one range of ports, made at start and removed at stop."""

    project = "drill"

    def __init__(self, home: Path, base: int) -> None:
        self.stack = Stack(Home(home.absolute()), Ports(base))
        self._home, self._ports = self.stack.home, self.stack.ports

    def start(self) -> None:
        """Bring it up with the drill's project and wait until all of it is well."""
        self.stack.up()
        who = self.stack.plan().accounts
        origin.lay_out(self.repository, who)
        self.effects.mkdir(exist_ok=True)
        self.effects.chmod(0o755)
        self._restart("database", LEASES, lasting=True)
        self.healthy(START_S)
        new = Project(self.project, str(self.repository), "The drill", test_command=("true",))
        with ControlClient(self.urls[0], self.token) as client:
            client.create_project(new, "drill")
        self.healthy(START_S)
        self._restart(f"agent-{self.project}", UNCONFINED, lasting=True)
        self.healthy(START_S)

    def stop(self) -> None:
        """End every process."""
        self.stack.kill()

    def processes(self) -> dict[str, int]:
        """Every process that the supervisor has up."""
        return {p.name: p.pid for p in self.stack.supervisor.processes() if p.pid}

    @property
    def urls(self) -> tuple[str, ...]:
        """The one control plane."""
        return (f"http://{HOST}:{self._ports.of('control')}",)

    @property
    def token(self) -> str:
        """The token of the API."""
        return self._home.secret(credentials.API_TOKEN)

    @property
    def management_url(self) -> str:
        """RabbitMQ's management."""
        return f"http://{HOST}:{self._ports.of('management')}"

    @property
    def repository(self) -> Path:
        """The project's bare repository."""
        return self._home.path / "drill.git"

    @property
    def effects(self) -> Path:
        """The folder of the accountant's counter."""
        return self._home.path / "effects"

    def broker_settings(self) -> BrokerSettings:
        """The broker as its operator."""
        return BrokerSettings(
            host=HOST,
            port=self._ports.of("amqp"),
            vhost=rabbitmq.VHOST,
            username="operator",
            password=self._home.secret(credentials.broker("operator")),
        )

    def ledger_settings(self) -> LedgerClientSettings:
        """The database service as its operator."""
        return LedgerClientSettings(
            target=f"{HOST}:{self._ports.of('database')}",
            token=self._home.secret(credentials.ledger("operator")),
        )

    def healthy(self, timeout_s: float) -> float:
        """Wait until all is well; seconds taken. Raises DeadlineExceeded naming what is not."""
        began = time.monotonic()
        observer = Observer(self._home, self._ports)
        agent = f"agent-{self.project}"
        while True:
            seen = observer.look()
            there = {service.name for service in seen}
            unwell = [service for service in seen if service.state != "running"]
            if seen and not unwell and (agent in there or not self._has_project()):
                return time.monotonic() - began
            if time.monotonic() - began > timeout_s:
                raise DeadlineExceeded(observer.explain(unwell) or "the agent does not start")
            time.sleep(LOOK_S)

    def log(self, process: str) -> Path:
        """The log of the process."""
        return self._home.log(process)

    def arm(self, process: str, variables: Mapping[str, str], *, lasting: bool = False) -> None:
        """Start the process anew with these LOOM_DRILL_* variables; returns when it has them."""
        more = {"LOOM_DRILL_SCRATCH": "1", **variables} if variables else {}
        self._restart(process, more, lasting=lasting)

    def _restart(self, process: str, variables: Mapping[str, str], *, lasting: bool) -> None:
        """Put the variables behind the process's own settings, the last of which count."""
        file = self._home.settings_file(process)
        kept = self._home.path / "etc" / f".{process}.kept"
        if not kept.exists():
            shutil.copyfile(file, kept)
            kept.chmod(0o600)
        always = {"database": LEASES, f"agent-{self.project}": UNCONFINED}.get(process, {})
        own = kept.read_text() + as_settings_file(always)
        _overwrite(file, own + as_settings_file(variables))
        log = self._home.log(process)
        before = self.processes().get(process, 0)
        armed_before = times_armed(log)
        if before:
            with suppress(ProcessLookupError):
                os.kill(before, signal.SIGTERM)
        deadline = time.monotonic() + START_S
        wants_words = any(
            key in variables for key in ("LOOM_DRILL_FAILPOINTS", "LOOM_DRILL_UNGUARDED")
        )
        while self.processes().get(process, 0) in (0, before) or (
            wants_words and times_armed(log) <= armed_before
        ):
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"{process} does not start again (pid before {before}, now "
                    f"{self.processes().get(process, 0)}); it last said:\n{tail(log, LAST_LINES)}"
                )
            time.sleep(LOOK_S)
        if not lasting:
            _overwrite(file, own)

    def _has_project(self) -> bool:
        try:
            with ControlClient(self.urls[0], self.token) as client:
                return bool(client.list_projects().items)
        except LoomError:
            return True


def times_armed(log: Path) -> int:
    """How often the process has said that it is armed."""
    if not log.exists():
        return 0
    text = log.read_bytes()
    return sum(text.count(words) for words in ARMED)


def _overwrite(file: Path, text: str) -> None:
    """Write into the file as it is: it stays its owner's."""
    with file.open("w") as opened:
        opened.write(text)
