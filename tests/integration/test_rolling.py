"""A rolling restart of everything under load: nothing accepted is lost, nothing done twice."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from agent_stand import AgentProcess, Stand, git, stand_up

from loom.clients.control import ControlClient
from loom.database.migrate import upgrade
from loom.domain.bead import Bead, NewBead
from loom.domain.lifecycle import Resolution
from loom.errors import DeadlineExceeded, Unavailable
from loom.rpc.callers import digest
from loom.settings import LedgerSettings
from loom.testing.database import CALLERS, RunningDatabase, token
from loom.testing.infrastructure import Infrastructure
from loom.testing.service import Service, broker_environment

TOKEN = "the token"
NAME = "rolling"
ROUNDS = int(os.environ.get("LOOM_ROLLING_ROUNDS", "1"))
"""How often everything is restarted; `make drill` does it six times."""
A_RESTART = 12
"""Beads that are filed during each restart; every seventh has a patch."""
PATIENCE_S = 240.0

PATCH = """\
diff --git a/note-{n}.txt b/note-{n}.txt
new file mode 100644
--- /dev/null
+++ b/note-{n}.txt
@@ -0,0 +1 @@
+{n}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def eventually(what: str, holds: Callable[[], bool]) -> None:
    """Look again and again until it holds."""
    give_up_at, pause = time.monotonic() + PATIENCE_S, threading.Event()
    while not holds():
        assert time.monotonic() < give_up_at, f"not within {PATIENCE_S:g} s: {what}"
        pause.wait(0.2)


class Fleet:
    """Every process of a Loom, each of which can be restarted as a rolling update does."""

    def __init__(self, infrastructure: Infrastructure, settings: LedgerSettings, folder: Path):
        self._folder, self._settings = folder, settings
        self._exit = ExitStack()
        self.url = f"http://127.0.0.1:{free_port()}"
        self.target = f"127.0.0.1:{free_port()}"
        self._running: dict[str, Service] = {}
        tokens = folder / "tokens"
        callers = (*CALLERS, "agent-demo")
        tokens.write_text("".join(f"{each} {digest(token(each))}\n" for each in callers))
        self._environments = {"database": self._of_database(tokens)}
        self.start("database", "serving")
        self.ledger = RunningDatabase(self.target, settings)
        self.stand: Stand = stand_up(infrastructure, NAME, self.ledger, folder)
        broker = broker_environment(self.stand.broker)
        for service in ("dispatcher-1", "dispatcher-2", "ingester-1", "ingester-2", "engine"):
            self._environments[service] = broker | self._of(service)
        self._environments["control"] = self._of("control") | {
            "LOOM_CONTROL_LISTEN": self.url.removeprefix("http://"),
            "LOOM_CONTROL_TOKEN_SHA256": digest(TOKEN),
        }
        for service in list(self._environments)[1:]:
            self.start(service)
        self.agents = {name: self._agent(name) for name in ("agent-1", "agent-2")}

    def start(self, service: str, ready: str = "") -> None:
        """Start it; ready: the event of its log to wait for."""
        module = f"loom.{service.partition('-')[0]}"
        running = Service(module, self._environments[service])
        self._running[service] = self._exit.enter_context(running)
        if ready:
            running.wait_for(ready)

    def restart(self, service: str) -> None:
        """SIGTERM, its end, and a new one."""
        if service in self.agents:
            assert self.agents[service].end() == 143, self.agents[service].lines[-5:]
            self.agents[service] = self._agent(service)
            self.agents[service].wait_for("agent_ready")
            return
        assert self._running[service].stop() == 0, self._running[service].lines[-5:]
        self.start(service)

    def end(self) -> None:
        """Ask the agents to stop, then end everything."""
        for agent in self.agents.values():
            agent.end()
        self.stand.close()
        self.ledger.close()
        self._exit.close()

    def _agent(self, name: str) -> AgentProcess:
        return AgentProcess(
            self.stand.environment(
                LOOM_AGENT_NAME=f"agent-demo@{name}",
                LOOM_AGENT_WORKSPACE=str(self._folder / "workspaces" / name),
                LOOM_AGENT_SPOOL=str(self._folder / "spool" / name),
                LOOM_AGENT_STOP_AFTER_S="60",
            )
        )

    def _of(self, service: str) -> dict[str, str]:
        kind, _, instance = service.partition("-")
        return {
            "LOOM_INSTANCE": instance or "1",
            "LOOM_LEDGER_TARGET": self.target,
            "LOOM_LEDGER_TOKEN": token(kind),
        }

    def _of_database(self, tokens: Path) -> dict[str, str]:
        own = self._settings.model_copy(
            update={"listen": self.target, "tokens_file": str(tokens)}
        ).model_dump()
        secrets = {
            name: getattr(self._settings, name).get_secret_value()
            for name in ("password", "reader_password")
        }
        return {
            f"LOOM_DATABASE_{name.upper()}": str(value) for name, value in (own | secrets).items()
        }


class Filer:
    """Files beads over HTTP, each until it is accepted, and keeps its own record of them."""

    def __init__(self, url: str) -> None:
        self._client = ControlClient(url, TOKEN)
        self._wanted = threading.Semaphore(0)
        self._more = True
        self.accepted: dict[str, Bead] = {}
        self.refusals: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def file(self, beads: int) -> None:
        """Have so many more filed."""
        self._wanted.release(beads)

    def finish(self) -> None:
        """Return once all that was wanted is accepted."""
        self._more = False
        self._wanted.release()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self._client.close()

    def _run(self) -> None:
        number = 0
        while self._wanted.acquire() and (self._more or self._wanted._value):
            number += 1
            self._file(number)

    def _file(self, number: int) -> None:
        key, pause = f"rolling-{number}", threading.Event()
        context = {"test_command": ["true"]}
        if number % 7 == 0:
            context["patch"] = PATCH.format(n=number)  # type: ignore[assignment]
        while True:
            try:
                self.accepted[key] = self._client.create_bead(
                    "demo", NewBead(f"Note {number}", context=context), key
                )
            except (Unavailable, DeadlineExceeded) as error:
                self.refusals[error.code] += 1
                pause.wait(0.05)
            else:
                return


@pytest.fixture
def fleet(infrastructure: Infrastructure, tmp_path: Path) -> Iterator[Fleet]:
    settings = infrastructure.make_database(NAME)
    upgrade(infrastructure.migration_named(NAME))
    made = Fleet(infrastructure, settings, tmp_path)
    try:
        yield made
    finally:
        made.end()


@pytest.mark.timeout(600)
def test_a_rolling_restart_under_load_loses_and_doubles_nothing(fleet: Fleet) -> None:
    def ready() -> bool:
        try:
            return httpx.get(f"{fleet.url}/readyz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    eventually("the control plane is ready", ready)
    filer = Filer(fleet.url)
    for _ in range(ROUNDS):
        for service in ("dispatcher-1", "ingester-2", "database", "control", "agent-1"):
            filer.file(A_RESTART)
            fleet.restart(service)
    filer.finish()

    client = fleet.ledger.client("control")

    def all_closed() -> bool:
        return not client.list_beads(states=["open", "in_progress"], page_size=1).items

    eventually("every bead has ended", all_closed)
    accepted = {bead.id for bead in filer.accepted.values()}
    assert len(accepted) == len(filer.accepted) >= ROUNDS * 5 * A_RESTART

    found, cursor = [], ""
    while True:
        page = client.list_beads(page_size=200, cursor=cursor)
        found += page.items
        cursor = page.next_cursor
        if not cursor:
            break
    assert {bead.id for bead in found} == accepted
    assert {bead.resolution for bead in found} == {Resolution.SUCCEEDED}

    outcomes = Counter(
        attempt.outcome for bead in found for attempt in client.list_attempts(bead.id)
    )
    assert outcomes["succeeded"] == len(found), outcomes
    # A drained process gives nothing back that it had begun.
    assert set(outcomes) == {"succeeded"}, outcomes

    repository = fleet.stand.repository
    patched = {bead.id for bead in found if bead.commits}
    assert len(patched) == len(filer.accepted) // 7
    refs = git("for-each-ref", "--format=%(refname)", cwd=repository).split()
    branches = {ref.removeprefix("refs/heads/agent/") for ref in refs} - {"refs/heads/main"}
    assert branches == patched
    for bead_id in patched:
        trailers = git(
            *("log", "--format=%(trailers:key=Bead-Id,valueonly,separator=%x2C)"),
            f"main..agent/{bead_id}",
            cwd=repository,
        )
        assert trailers == bead_id

    assert not client.list_dead_letters().items
    eventually(
        "nothing is owed", lambda: not fleet.ledger.client("dispatcher").lease_outbox("x", 1)
    )
