"""Live logs on their whole way: agent, RabbitMQ, ingester, ledger, API, and whoever follows."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

import psycopg
import pytest

from loom.broker.declare import declare
from loom.broker.publisher import Publisher
from loom.clients.control import ControlClient
from loom.clients.database import DatabaseClient
from loom.clients.following import END, LINE, LogEvent
from loom.database import migrate
from loom.domain.audit import Intervention
from loom.domain.bead import Bead, NewBead
from loom.domain.evidence import Outcome, Step
from loom.domain.identity import new_message_id
from loom.domain.log import LineKind, LogChunk, LogLine, LogState
from loom.domain.project import Project
from loom.messaging import log as message
from loom.messaging import result, topology
from loom.messaging.topology import CORE, agent_user, of_project
from loom.rpc.callers import digest
from loom.settings import BrokerSettings
from loom.stack.management import Management
from loom.testing.database import running_database, token
from loom.testing.infrastructure import Infrastructure
from loom.testing.service import Service, broker_environment
from workers.live import LiveLog

PROJECT = "lively"
API_TOKEN = "the token"
AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
PROVEN = Outcome(succeeded=True, steps=(Step("test", ("true",), 0, 0.5),))
PATIENCE_S = 60.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@dataclass
class Stage:
    """Everything that a line passes, and the bead whose it is."""

    port: int
    client: ControlClient
    ledger: DatabaseClient
    agent: DatabaseClient
    as_agent: BrokerSettings
    ingester: Service
    recorder: DatabaseClient
    sql: psycopg.Connection[tuple[object, ...]]

    def running(self) -> Bead:
        """A bead that the agent works on, at epoch 1."""
        (bead,) = self.ledger.create_beads(PROJECT, [NewBead("Mend it")], "corr").items
        self.agent.claim_bead(bead.id, 1, f"{agent_user(PROJECT)}@host")
        return bead

    @contextmanager
    def live(self, bead: Bead, epoch: int = 1) -> Iterator[LiveLog]:
        """What the agent says of the bead."""
        publisher = Publisher(self.as_agent, "agent-logs")
        log = LiveLog(
            publisher.publish, project_id=PROJECT, bead_id=bead.id, epoch=epoch,
            correlation_id="corr",
        )  # fmt: skip
        try:
            yield log
        finally:
            log.close(PATIENCE_S)
            publisher.close()

    def transactions(self) -> set[tuple[int, object]]:
        """Those that are open and do nothing, as process and beginning."""
        return set(
            self.sql.execute(
                "SELECT pid, xact_start FROM pg_stat_activity "
                "WHERE datname = 'live_logs' AND state LIKE 'idle in transaction%'"
            )
        )

    def finish(self, bead: Bead) -> None:
        """The ledger has the bead's result."""
        report = result.report(
            PROVEN, message_id=new_message_id(), project_id=PROJECT, bead_id=bead.id, epoch=1,
            agent_id=f"{agent_user(PROJECT)}@host", correlation_id="corr",
            timestamp=datetime.now(UTC),
        )  # fmt: skip
        self.recorder.record_results([(report, "")])


@pytest.fixture(scope="module")
def infrastructure(infrastructure: Infrastructure) -> Infrastructure:
    """The servers, with a vhost of this file's own where each user has its permissions."""
    return infrastructure.on_vhost("live_logs")


@pytest.fixture(scope="module")
def stage(infrastructure: Infrastructure) -> Iterator[Stage]:
    settings = infrastructure.make_database("live_logs")
    owner = infrastructure.migration_named("live_logs")
    migrate.upgrade(owner)
    assert not declare(infrastructure.broker, "test", [CORE, of_project(PROJECT)])
    password = "password-of-lively"
    Management(infrastructure.home, infrastructure.ports, infrastructure.vhost).put_user(
        agent_user(PROJECT), password, topology.permission_of_agent(PROJECT)
    )
    login = BrokerSettings(username=agent_user(PROJECT), password=password)
    as_agent = infrastructure.broker.model_copy(
        update={"username": login.username, "password": login.password}
    )
    port = free_port()
    with running_database(settings, (PROJECT,)) as database:
        ledger = database.client("control")
        ledger.create_project(Project(PROJECT, "/srv/lively.git"), "corr")
        reach = {"LOOM_LEDGER_TARGET": database.target}
        with (
            Service(
                "loom.ingester",
                broker_environment(infrastructure.broker_as("ingester"))
                | reach
                | {"LOOM_LEDGER_TOKEN": token("ingester")},
            ) as ingester,
            Service(
                "loom.control",
                reach
                | {
                    "LOOM_LEDGER_TOKEN": token("control"),
                    "LOOM_CONTROL_LISTEN": f"127.0.0.1:{port}",
                    "LOOM_CONTROL_TOKEN_SHA256": digest(API_TOKEN),
                },
            ),
            ControlClient(f"http://127.0.0.1:{port}", API_TOKEN) as client,
            psycopg.connect(
                host=owner.host, port=owner.port, dbname=owner.name, user="postgres",
                password=infrastructure.superuser_password, autocommit=True,
            ) as sql,
        ):  # fmt: skip
            wait_for_port(port)
            yield Stage(
                port, client, ledger, database.client(agent_user(PROJECT)), as_agent, ingester,
                database.client("ingester"), sql,
            )  # fmt: skip


def wait_for_port(port: int) -> None:
    """Return once somebody listens there."""
    pause = threading.Event()
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            pause.wait(0.05)
        else:
            return
    raise AssertionError(f"nobody listens on port {port}")


def texts(events: list[LogEvent]) -> list[str]:
    return [event.line.text for event in events if event.line is not None]


def test_lines_reach_a_follower_as_they_are_written(stage: Stage) -> None:
    bead = stage.running()
    stream = stage.client.follow_log(bead.id)
    with stage.live(bead) as log:
        log.begin("test", ["pytest"])
        log.write("test", b"\x1b[32mcollected\n")
        seen = list(islice((event for event in stream if event.kind == LINE), 2))
        assert texts(seen) == ["pytest", "\x1b[32mcollected"], "while the command still runs"
        for number in range(2_000):
            log.write("test", b"line %d\n" % number)
        log.end("test", 0, 1.0)
    stage.finish(bead)
    rest = list(stream)
    assert texts(rest) == [
        *(f"line {number}" for number in range(2_000)), "ended with exit code 0 after 1.0 s",
    ]  # fmt: skip
    assert rest[-1].kind == END
    assert (rest[-1].data or {})["resolution"] == "succeeded"


def test_a_reader_whose_connection_was_cut_misses_nothing_and_gets_nothing_twice(
    stage: Stage,
) -> None:
    bead = stage.running()
    lines = [f"line {number}" for number in range(900)]
    with stage.live(bead) as log:
        log.write("test", "\n".join(lines[:500]).encode() + b"\n")
        got: list[LogEvent] = []
        stream = stage.client.follow_log(bead.id)
        got += islice((event for event in stream if event.kind == LINE), 123)
        stream.close()
        log.write("test", "\n".join(lines[500:]).encode() + b"\n")
    stream = stage.client.follow_log(bead.id, last_event_id=got[-1].id)
    got += islice((event for event in stream if event.kind == LINE), 400)
    stream.close()
    stage.finish(bead)
    got += stage.client.follow_log(bead.id, last_event_id=got[-1].id)
    assert texts(got) == lines
    again = list(stage.client.follow_log(bead.id, last_event_id=got[-1].id))
    assert [event.kind for event in again] == [END]


def test_an_agent_that_lost_its_bead_adds_nothing_to_its_log(stage: Stage) -> None:
    bead = stage.running()
    with stage.live(bead) as log:
        log.write("test", b"while it held the bead\n")
        stream = stage.client.follow_log(bead.id)
        next(event for event in stream if event.kind == LINE)
        stream.close()
        stage.ledger.cancel_bead(bead.id, Intervention("me", "no need"))
        log.write("test", b"and then\n")
    stage.ingester.wait_for("log_lines_not_kept", stale=1)
    page = stage.client.read_log(bead.id)
    assert [each.line.text for each in page.lines] == ["while it held the bead"]
    assert page.state is LogState.ENDED


def test_an_agent_cannot_speak_of_another_projects_beads(stage: Stage) -> None:
    bead = stage.running()
    forged = LogChunk("other", bead.id, 1, 1, 1, (LogLine(AT, "not mine"),))
    envelope = message.to_envelope(forged, new_message_id(), "corr")
    publisher = Publisher(stage.as_agent, "forger")
    (refused,) = publisher.publish([envelope], 10)
    publisher.close()
    assert not refused.confirmed, "the broker knows whose key that is"
    mine = LogChunk(PROJECT, "bd-nowhere", 1, 1, 1, (LogLine(AT, "of nothing"),))
    publisher = Publisher(stage.as_agent, "dreamer")
    (taken,) = publisher.publish([message.to_envelope(mine, new_message_id(), "corr")], 10)
    publisher.close()
    assert taken.confirmed
    stage.ingester.wait_for("log_lines_not_kept", unknown=1)


def test_a_flood_is_limited_and_says_what_is_missing(stage: Stage) -> None:
    bead = stage.running()
    flood = b"".join(b"flood %d %s\n" % (number, b"x" * 100) for number in range(40_000))
    with stage.live(bead) as log:
        for _ in range(10):
            log.write("test", flood)
        log.end("test", 0, 1.0)
    stage.finish(bead)
    found = list(stage.client.follow_log(bead.id))
    kinds = [event.line.kind for event in found if event.line]
    kept = kinds.count(LineKind.OUT)
    left_out = sum(
        int(event.line.text.split()[1])
        for event in found
        if event.line and event.line.kind is LineKind.LEFT_OUT
    )
    assert kept + left_out == 400_000, "each line is there, or counted"
    assert kept < 40_000
    assert kinds[-1] is LineKind.END


def test_a_reader_that_takes_nothing_holds_up_nobody(stage: Stage) -> None:
    bead = stage.running()
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        stalled.connect(("127.0.0.1", stage.port))
        stalled.sendall(
            f"GET /api/v1/beads/{bead.id}/log/stream HTTP/1.1\r\nHost: loom\r\n"
            f"Authorization: Bearer {API_TOKEN}\r\n\r\n".encode()
        )
        assert stalled.recv(12) == b"HTTP/1.1 200"
        with stage.live(bead) as log:
            for number in range(4_000):
                log.write("test", b"%d %s\n" % (number, b"x" * 150))
        stage.finish(bead)
        lines = texts(list(stage.client.follow_log(bead.id)))
        assert len(lines) == 4_000
        # The stalled one was sent all that its connection holds, and waits.
        held = stage.transactions()
        give_up, pause = time.monotonic() + 10, threading.Event()
        # Those of services that work on end at once; a reader is cut off after 30 s.
        while held & stage.transactions():
            assert time.monotonic() < give_up, f"held for a reader that takes nothing: {held}"
            pause.wait(0.05)
        assert stage.client.get_bead(bead.id).id == bead.id
