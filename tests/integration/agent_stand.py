"""What the agent's tests stand on: a real broker, ledger and repository, and agent processes."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from looking import until

from loom.broker.consumer import Consumer
from loom.broker.declare import declare
from loom.broker.publisher import Publisher
from loom.clients.database import DatabaseClient
from loom.dispatcher.message import envelope_of
from loom.domain.audit import Intervention
from loom.domain.bead import Bead, NewBead
from loom.domain.outbox import OutboxKind
from loom.domain.project import Project
from loom.messaging import result
from loom.messaging.envelope import Delivery, Envelope
from loom.messaging.result import ResultMessage
from loom.messaging.topology import (
    CORE,
    RESULTS_QUEUE,
    agent_user,
    dead_key,
    of_project,
    permission_of_agent,
)
from loom.settings import BrokerSettings
from loom.stack.rabbitmq import topics_as_json
from loom.testing.database import RunningDatabase, token
from loom.testing.infrastructure import Infrastructure
from workers.presence import NAME as REPORTER

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0
"""How long a test waits for an event before it says that it never came."""

BROKEN = "def add(a, b):\n    return a - b\n"
CHECK = 'from sums import add\nassert add(2, 2) == 4, f"2 + 2 = {add(2, 2)}"\nprint("sums right")\n'
MEND = """\
--- a/sums.py
+++ b/sums.py
@@ -1,2 +1,2 @@
 def add(a, b):
-    return a - b
+    return a + b
"""
TEST_COMMAND = ("python3", "check.py")


def make_repository(folder: Path) -> Path:
    """A bare repository with a small package that cannot add."""
    seed, bare = folder / "seed", folder / "sums.git"
    seed.mkdir(parents=True)
    (seed / "sums.py").write_text(BROKEN)
    (seed / "check.py").write_text(CHECK)
    git("init", "--quiet", "--initial-branch=main", cwd=seed)
    git("add", ".", cwd=seed)
    git("commit", "--quiet", "--message=Sums", cwd=seed)
    git("clone", "--quiet", "--bare", str(seed), str(bare), cwd=folder)
    return bare


def git(*arguments: str, cwd: Path, stdin: str = "") -> str:
    """What git says; raises CalledProcessError."""
    identity = {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Tester"), ("EMAIL", "tester@loom.invalid"))
    }
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", *arguments],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), "GIT_CONFIG_NOSYSTEM": "1", **identity},
        check=True,
        capture_output=True,
        text=True,
        input=stdin,
    )
    return done.stdout.strip()


class AgentProcess:
    """A running `python -m workers`, and what it logs."""

    def __init__(self, environment: Mapping[str, str], before: Sequence[str] = ()) -> None:
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "workers"],
            cwd=ROOT,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[dict[str, Any]] = []
        self._arrived: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait_for(self, event: str, **values: object) -> dict[str, Any]:
        """The next log line of that event with those values; AssertionError if none comes."""
        seen: list[dict[str, Any]] = []
        while True:
            try:
                line = self._arrived.get(timeout=PATIENCE_S)
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"no {event} {values} came; instead:\n{_listed(seen)}")
            seen.append(line)
            if line.get("event") == event and values.items() <= line.items():
                return line

    def wait_for_words(self, words: str) -> None:
        """Return at the next log line whose event has these words; AssertionError if none comes."""
        while True:
            try:
                line = self._arrived.get(timeout=PATIENCE_S)
            except queue.Empty:
                line = None
            assert line is not None, f"nothing with {words!r} came"
            if words in str(line.get("event")):
                return

    def logged(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """Every line of that event and these fields so far."""
        wanted = {"event": event, **fields}
        return [line for line in self.lines if wanted.items() <= line.items()]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send the signal and wait; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE_S)
        self._thread.join(PATIENCE_S)
        return code

    def pool(self) -> list[int]:
        """The pids of its pool's processes."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(p) for p in children if Path(f"/proc/{p}/comm").read_text().strip() != REPORTER]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                document = json.loads(line)
            except ValueError:
                document = {"event": "not_json", "text": line.rstrip()}
            self.lines.append(document)
            self._arrived.put(document)
        self._arrived.put(None)


def _listed(lines: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(json.dumps(line) for line in lines)


@dataclass(slots=True)
class Stand:
    """One project on a broker and a ledger of the test's own."""

    infrastructure: Infrastructure
    broker: BrokerSettings
    database: RunningDatabase
    repository: Path
    project_id: str
    folder: Path
    publisher: Publisher
    _consumers: dict[str, Iterator[Any]] = field(default_factory=dict)
    _stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def control(self) -> DatabaseClient:
        """The ledger as the control plane sees it."""
        return self.database.client("control")

    def environment(self, **settings: str) -> dict[str, str]:
        """What an agent process starts with."""
        name = f"agent-{self.project_id}"
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "SECRET_OF_THE_AGENT": "must-not-leak",
            "LOOM_AGENT_PROJECT": self.project_id,
            # Most commands here speak with their test by files outside of the workspace.
            "LOOM_AGENT_SANDBOX": "none",
            # Some that a machine may have take a second of its processor to tell their version.
            "LOOM_AGENT_TOOLS": "python3 make",
            "LOOM_AGENT_WORKSPACE": str(self.folder / "workspaces"),
            "LOOM_BROKER_HOST": self.broker.host,
            "LOOM_BROKER_PORT": str(self.broker.port),
            "LOOM_BROKER_VHOST": self.broker.vhost,
            "LOOM_BROKER_USERNAME": self.broker_user,
            "LOOM_BROKER_PASSWORD": "agent-password",
            "LOOM_LEDGER_TARGET": self.database.target,
            "LOOM_LEDGER_TOKEN": token(name),
        } | settings

    @property
    def broker_user(self) -> str:
        """The agent's user on the broker."""
        return agent_user(self.project_id)

    @contextmanager
    def agent(self, *, before: Sequence[str] = (), **settings: str) -> Iterator[AgentProcess]:
        """A running agent. before: the command that becomes it."""
        running = AgentProcess(self.environment(**settings), before)
        try:
            yield running
        finally:
            if running.process.poll() is None:
                running.process.kill()
            running.end()

    def file(self, **bead: Any) -> Bead:
        """File a bead, and send its message as the dispatcher does."""
        new = NewBead(**({"title": "Mend the sums"} | bead))
        [filed] = self.control.create_beads(self.project_id, [new], "corr-1").items
        self.dispatch()
        return filed

    def dispatch(self, wait_ms: int = 0) -> int:
        """Send every task message that the ledger owes; how many there were."""
        dispatcher = self.database.client("dispatcher")
        rows = dispatcher.lease_outbox("stand", 100, wait_ms)
        envelopes = [
            envelope_of(row, row.traceparent) for row in rows if row.kind is OutboxKind.TASK
        ]
        self.publish(*envelopes)
        dispatcher.settle_outbox("stand", [row.id for row in rows])
        return len(envelopes)

    @contextmanager
    def engine(self) -> Iterator[None]:
        """Meanwhile, end leases that ran out and send what is owed, as engine and dispatcher do."""
        ended = threading.Event()
        ledger = self.database.client("engine")

        def run() -> None:
            while not ended.is_set():
                ledger.expire_leases()
                self.dispatch(wait_ms=300)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def wait_for_loss(self, bead_id: str) -> None:
        """Return once the running attempt at the bead is lost; only while the engine runs."""
        until(lambda: self.control.list_attempts(bead_id)[-1].outcome != "running")

    def cancel(self, bead_id: str) -> None:
        """Cancel a bead, as an operator does."""
        self.control.cancel_bead(bead_id, Intervention("operator", "not wanted any more"))

    def publish(self, *envelopes: Envelope) -> None:
        """Publish, and see that the broker has them."""
        for outcome in self.publisher.publish(envelopes, PATIENCE_S):
            assert outcome.confirmed, outcome

    def result(self, bead_id: str) -> ResultMessage:
        """The next result of the bead; the ledger gets it too."""
        while True:
            delivery = self.take(RESULTS_QUEUE)
            message = result.read(delivery.headers, delivery.body)
            self.database.client("ingester").record_results([(message, "")])
            if message.bead_id == bead_id:
                return message

    def dead_letter(self, body: bytes) -> Delivery:
        """The next dead letter with that body."""
        while True:
            delivery = self.take(dead_key(self.project_id))
            if delivery.body == body:
                return delivery

    def take(self, name: str) -> Delivery:
        """The next message of a queue."""
        if name not in self._consumers:
            self._consumers[name] = self._deliveries(name)
        late = threading.Timer(PATIENCE_S, self._stopping.set)
        late.start()
        try:
            delivery: Delivery = next(self._consumers[name])
        except StopIteration:
            del self._consumers[name]
            self._stopping.clear()
            raise AssertionError(f"nothing came to {name}") from None
        finally:
            late.cancel()
        return delivery

    def _deliveries(self, name: str) -> Iterator[Delivery]:
        consumer = Consumer(self.broker, "stand", name, 10)
        for taken in consumer.batches(1, 0.0, self._stopping):
            taken.ack(taken.deliveries)
            yield from taken.deliveries

    def close(self) -> None:
        """Hang up."""
        self._stopping.set()
        for deliveries in self._consumers.values():
            deliveries.close()  # type: ignore[attr-defined]
        self.publisher.close()


class Gate:
    """A test command that says when it has begun, and ends when it is let."""

    def __init__(self, folder: Path, name: str) -> None:
        self._told, self._go = folder / f"{name}.told", folder / f"{name}.go"
        os.mkfifo(self._told)
        os.mkfifo(self._go)
        script = f"echo begun >{self._told}; read word <{self._go}"
        self.context: dict[str, Any] = {"test_command": ["sh", "-c", script]}

    def wait_for_start(self) -> None:
        """Return once the command runs."""
        assert self._told.read_text() == "begun\n"

    def open(self) -> None:
        """Let the command end."""
        self._go.write_text("go\n")


def stand_up(
    infrastructure: Infrastructure,
    vhost: str,
    database: RunningDatabase,
    folder: Path,
    project_id: str = "demo",
) -> Stand:
    """Declare the topology, make the agent's user with its own permissions, and the project."""
    broker = infrastructure.make_vhost(vhost)
    assert not declare(broker, "stand", [CORE, of_project(project_id)])
    stand = Stand(
        infrastructure,
        broker,
        database,
        make_repository(folder),
        project_id,
        folder,
        Publisher(broker, "stand"),
    )
    may = permission_of_agent(project_id)
    with infrastructure.management() as api:
        user = {"password": "agent-password", "tags": ""}
        api.put(f"/api/users/{stand.broker_user}", json=user).raise_for_status()
        allowed = {"configure": may.configure, "write": may.write, "read": may.read}
        for topic in topics_as_json(may):
            where = f"/api/topic-permissions/{vhost}/{stand.broker_user}"
            api.put(where, json=topic).raise_for_status()
        api.put(f"/api/permissions/{vhost}/{stand.broker_user}", json=allowed).raise_for_status()
    stand.control.create_project(
        Project(project_id, str(stand.repository), test_command=TEST_COMMAND), "corr-0"
    )
    return stand
