"""The private RabbitMQ, PostgreSQL and PgBouncer of a stack: alive, closed, and gone afterwards."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pika
import psycopg
import pytest
from pika.exceptions import ChannelClosedByBroker

from loom.errors import Conflict
from loom.messaging import topology
from loom.messaging.topology import CORE, Topology, of_project, permission_of_agent
from loom.settings import BrokerSettings
from loom.stack import drift, holder, remains, services
from loom.stack.home import Home
from loom.stack.lifecycle import Stack
from loom.stack.management import Management
from loom.stack.observe import Observer
from loom.stack.ports import HOST
from loom.testing.infrastructure import (
    OWNER,
    PREFIX,
    Infrastructure,
    free_ports,
    private_infrastructure,
    sweep,
)

pytestmark = pytest.mark.timeout(180)
PATIENCE_S = 90.0


@pytest.fixture(scope="module")
def servers() -> Iterator[Infrastructure]:
    """All of them, in a folder that others cannot enter."""
    with private_infrastructure() as infrastructure:
        yield infrastructure


def _await(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def _channel(settings: BrokerSettings) -> pika.adapters.blocking_connection.BlockingChannel:
    return pika.BlockingConnection(pika.URLParameters(settings.url)).channel()


def _declare(settings: BrokerSettings, wanted: Topology) -> None:
    channel = _channel(settings)
    for exchange in wanted.exchanges:
        channel.exchange_declare(
            exchange.name, exchange.kind, durable=True, arguments=exchange.arguments
        )
    for queue in wanted.queues:
        channel.queue_declare(queue.name, durable=True, arguments=queue.arguments)
        for binding in queue.bindings:
            channel.queue_bind(queue.name, binding.exchange, binding.key)
    channel.connection.close()


@pytest.fixture(scope="module")
def declared(servers: Infrastructure) -> Infrastructure:
    """The servers with the topology of two projects, declared by those who declare it."""
    _declare(servers.broker_as("dispatcher"), CORE)
    _declare(servers.broker_as("ingester"), CORE)
    for project in ("alpha", "beta"):
        _declare(servers.broker_as("dispatcher"), of_project(project))
    return servers


@pytest.fixture(scope="module")
def agent(declared: Infrastructure) -> BrokerSettings:
    """The broker as the agent of the project alpha."""
    management = Management(declared.home, declared.ports)
    management.put_user("agent-alpha", "its-password", permission_of_agent("alpha"))
    return declared.broker.model_copy(
        update={"username": "agent-alpha", "password": _secret("its-password")}
    )


def _secret(value: str) -> object:
    return BrokerSettings(username="x", password=value).password


def test_a_second_up_changes_nothing(servers: Infrastructure) -> None:
    before = {process.name: process.pid for process in servers.stack.supervisor.processes()}
    started = servers.stack.up(only=services.INFRASTRUCTURE)
    assert started.was_running
    assert started.changed == ()
    assert {service.name: service.pid for service in started.services} == before


def test_what_somebody_stopped_is_started_by_the_next_up(servers: Infrastructure) -> None:
    servers.stack.supervisor.stop_all({"pgbouncer"})
    started = servers.stack.up(only=services.INFRASTRUCTURE)
    assert started.changed == ("pgbouncer",)


@pytest.mark.parametrize("name", services.INFRASTRUCTURE)
def test_a_server_that_is_killed_comes_back(servers: Infrastructure, name: str) -> None:
    observer = Observer(servers.home, servers.ports)
    before = {service.name: service.pid for service in observer.look()}
    os.kill(before[name], signal.SIGKILL)

    def is_back() -> bool:
        now = observer.look()
        pids = {service.name: service.pid for service in now}
        return pids[name] != before[name] and {service.state for service in now} == {"running"}

    _await(is_back, f"{name} did not come back")


def test_everything_listens_on_loopback_alone(servers: Infrastructure) -> None:
    inodes = set()
    for process in remains.of(servers.home):
        # A short-lived one, such as a server's own child, may end between two looks.
        with suppress(FileNotFoundError, ProcessLookupError):
            for link in Path(f"/proc/{process.pid}/fd").iterdir():
                target = str(link.readlink())
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
    listening = [
        row.split()[1].rpartition(":")[0]
        for table in ("tcp", "tcp6")
        for row in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if row.split()[3] == holder.LISTEN and row.split()[9] in inodes
    ]
    loopback = {"0100007F", "00000000000000000000000001000000"}
    assert len(listening) >= 8
    assert set(listening) <= loopback


def test_no_secret_stands_in_an_environment_or_a_command(servers: Infrastructure) -> None:
    secrets = [file.read_bytes().strip() for file in servers.home.secrets.iterdir()]
    for process in remains.of(servers.home):
        seen = b""
        for part in ("environ", "cmdline"):
            seen += Path(f"/proc/{process.pid}/{part}").read_bytes()
        assert not any(secret in seen for secret in secrets), process


def test_the_broker_has_no_guest(servers: Infrastructure) -> None:
    url = f"{servers.management_url}/api/overview"
    assert httpx.get(url, auth=("guest", "guest"), trust_env=False).status_code == 401
    with servers.management() as operator:
        assert {user["name"] for user in operator.get("/api/users").json()} >= {"dispatcher"}
        assert "guest" not in operator.get("/api/users").text


@pytest.mark.parametrize("direct", [True, False], ids=["at PostgreSQL", "at PgBouncer"])
def test_a_wrong_password_is_refused(servers: Infrastructure, direct: bool) -> None:
    port = servers.ports.of("postgres" if direct else "pgbouncer")
    with pytest.raises(psycopg.OperationalError, match=r"password|authentication"):
        psycopg.connect(host=HOST, port=port, dbname="loom", user="loom_service", password="guess")


def test_the_roles_may_do_what_they_are_for_and_no_more(servers: Infrastructure) -> None:
    servers.make_database("roles")
    owner, pooled = servers.migration_named("roles"), servers.database_named("roles")

    def run(user: str, password: str, statement: str, port: int) -> None:
        with psycopg.connect(
            host=HOST,
            port=port,
            dbname="roles",
            user=user,
            password=password,
            prepare_threshold=None,
        ) as connection:
            connection.execute(statement)

    service = (pooled.user, pooled.password.get_secret_value())
    reader = (pooled.reader_user, pooled.reader_password.get_secret_value())
    run(owner.user, owner.password.get_secret_value(), "CREATE TABLE bead (id int)", owner.port)
    run(*service, "INSERT INTO bead VALUES (1)", pooled.port)
    run(*reader, "SELECT * FROM bead", pooled.port)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        run(*reader, "DELETE FROM bead", pooled.port)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(*reader, "SET TRANSACTION READ WRITE; DELETE FROM bead", pooled.port)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run(*service, "CREATE TABLE other (id int)", pooled.port)
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(
            host=HOST,
            port=owner.port,
            dbname="postgres",
            user=service[0],
            password=service[1],
        )


def test_what_is_declared_is_what_the_topology_says(declared: Infrastructure) -> None:
    broker = Management(declared.home, declared.ports)
    for part in (CORE, of_project("alpha"), of_project("beta")):
        assert drift.of_exchanges(part, broker.exchanges()) == []
        assert drift.of_queues(part, broker.queues(), broker.bindings()) == []


def test_an_agent_reads_its_own_tasks_and_sends_results(agent: BrokerSettings) -> None:
    channel = _channel(agent)
    channel.confirm_delivery()
    channel.basic_get(topology.task_key("alpha"))
    channel.basic_publish(topology.RESULTS, topology.result_key("alpha"), b"{}", mandatory=True)
    channel.connection.close()


@pytest.mark.parametrize(
    "act",
    [
        lambda channel: channel.basic_get(topology.task_key("beta")),
        lambda channel: channel.basic_get(topology.RESULTS_QUEUE),
        lambda channel: channel.basic_get(topology.dead_key("alpha")),
        lambda channel: channel.queue_delete(topology.task_key("alpha")),
        lambda channel: channel.queue_declare("agent-beta@host.celery.pidbox"),
        lambda channel: channel.queue_declare("mine"),
        lambda channel: channel.exchange_delete(topology.RESULTS),
    ],
    ids=[
        "another's tasks",
        "results",
        "dead letters",
        "deleting",
        "another's mailbox",
        "a new queue",
        "deleting an exchange",
    ],
)
def test_an_agent_may_do_nothing_else(agent: BrokerSettings, act: Callable[..., object]) -> None:
    with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
        act(_channel(agent))


def test_an_agent_may_not_file_tasks(agent: BrokerSettings) -> None:
    channel = _channel(agent)
    channel.confirm_delivery()
    with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
        channel.basic_publish(topology.TASKS, topology.task_key("alpha"), b"{}")


def test_a_restarted_broker_keeps_the_agents_users(
    agent: BrokerSettings, declared: Infrastructure
) -> None:
    observer = Observer(declared.home, declared.ports)
    (before,) = [service.pid for service in observer.look() if service.name == "rabbitmq"]
    os.kill(before, signal.SIGTERM)
    _await(
        lambda: any(
            service.name == "rabbitmq" and service.state == "running" and service.pid != before
            for service in observer.look()
        ),
        "the broker did not come back",
    )
    _channel(agent).connection.close()


def test_two_stacks_run_side_by_side(servers: Infrastructure) -> None:
    with private_infrastructure(("postgres",)) as second:
        assert {s.state for s in Observer(second.home, second.ports).look()} == {"running"}
        assert not {p.pid for p in remains.of(second.home)} & {
            p.pid for p in remains.of(servers.home)
        }
    assert {s.state for s in Observer(servers.home, servers.ports).look()} == {"running"}
    assert remains.of(second.home) == []


def test_ports_that_are_taken_are_named_with_their_holder(
    servers: Infrastructure, tmp_path: Path
) -> None:
    (pid,) = [p.pid for p in servers.stack.supervisor.processes() if p.name == "postgres"]
    with pytest.raises(Conflict) as refused:
        Stack(Home(tmp_path / "home"), servers.ports).up(only=("postgres",))
    assert f"{servers.ports.of('postgres')} (postgres) by pid {pid}" in refused.value.detail
    assert "LOOM_PORT_BASE=" in refused.value.detail
    assert not (tmp_path / "home").exists()


def test_servers_whose_test_run_was_killed_are_ended_by_the_next(tmp_path: Path) -> None:
    folder = tmp_path / f"{PREFIX}orphan"
    stack = Stack(Home(folder / "home"), free_ports())
    stack.up(only=("epmd",))
    (folder / OWNER).write_text("4194305 1")
    try:
        assert sweep(tmp_path) == [folder]
        assert remains.of(stack.home) == []
        assert not folder.exists()
    finally:
        stack.kill()
