"""RabbitMQ, PostgreSQL and PgBouncer of the tests' own, real and private, gone when they end.

One test may have them for itself (private_infrastructure), or several test processes together
(own_folder, infrastructure_in): then each takes a vhost and a database of its own on them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from loom.messaging.topology import permission_of
from loom.settings import BrokerSettings, LedgerSettings
from loom.settings.ledger import MigrationSettings
from loom.stack import binaries, credentials, holder, postgres, rabbitmq, services
from loom.stack.home import Home
from loom.stack.lifecycle import Stack
from loom.stack.ports import HOST, Ports

PREFIX = "loom-test-"
OWNER = "owner"
"""The file that names the process whose servers these are."""
IDLE_S = 15
"""How long PgBouncer keeps a connection that nobody uses: many databases come and go here, and
PostgreSQL has connections for a few."""


@dataclass(frozen=True, slots=True)
class Infrastructure:
    """The servers, and how each is reached. vhost: where Loom's users are asked to meet."""

    stack: Stack
    vhost: str = rabbitmq.VHOST

    @property
    def home(self) -> Home:
        """Their state folder."""
        return self.stack.home

    @property
    def ports(self) -> Ports:
        """Where they listen."""
        return self.stack.ports

    @property
    def management_url(self) -> str:
        """RabbitMQ's management, to be asked as the operator."""
        return f"http://{HOST}:{self.ports.of('management')}"

    @property
    def broker(self) -> BrokerSettings:
        """The broker as its operator, who may do everything."""
        return self.broker_as("operator")

    def broker_as(self, user: str) -> BrokerSettings:
        """The broker as one of Loom's users, who may do what the topology grants them."""
        return BrokerSettings(
            host=HOST,
            port=self.ports.of("amqp"),
            vhost=self.vhost,
            username=user,
            password=self.home.secret(credentials.broker(user)),
        )

    @property
    def database(self) -> LedgerSettings:
        """What the database service would be started with, on the stack's own database."""
        return self.database_named(postgres.DATABASE)

    def database_named(self, name: str) -> LedgerSettings:
        """What the database service would be started with, on that database."""
        return LedgerSettings(
            listen=f"{HOST}:{self.ports.of('database')}",
            host=HOST,
            port=self.ports.of("pgbouncer"),
            direct_host=HOST,
            direct_port=self.ports.of("postgres"),
            name=name,
            user="loom_service",
            password=self.home.secret(credentials.postgres("loom_service")),
            reader_user="loom_reader",
            reader_password=self.home.secret(credentials.postgres("loom_reader")),
            tokens_file=str(self.home.tokens_file),
        )

    def migration_named(self, name: str) -> MigrationSettings:
        """What migrations of that database run with: the schema's owner, without the pooler."""
        return MigrationSettings(
            host=HOST,
            port=self.ports.of("postgres"),
            name=name,
            user="loom_owner",
            password=self.home.secret(credentials.postgres("loom_owner")),
        )

    @property
    def migration(self) -> MigrationSettings:
        """The same for the stack's own database."""
        return self.migration_named(postgres.DATABASE)

    @property
    def superuser_password(self) -> str:
        """The password of PostgreSQL's own `postgres`."""
        return self.home.secret(credentials.postgres(postgres.SUPERUSER))

    def make_database(self, name: str) -> LedgerSettings:
        """Make an empty database of that name with Loom's roles, for one test's own use."""
        plan = self.stack.plan()
        # PostgreSQL refuses to change a role from two sides at once.
        with _alone(self.home.path.parent):
            postgres.make_roles(binaries.find(), self.ports, plan.role_passwords(), database=name)
        return self.database_named(name)

    def make_vhost(self, name: str) -> BrokerSettings:
        """Make an empty vhost of that name which the operator may use, for one test's own use."""
        return self.on_vhost(name).broker

    def on_vhost(self, name: str) -> Infrastructure:
        """The same servers with an empty vhost of that name, where each of Loom's users may do
        what the topology grants it; for one file's own use."""
        wanted = {
            "vhosts": [{"name": name}],
            "permissions": [
                {"user": user, "vhost": name, **rabbitmq.as_json(permission_of(user))}
                for user in credentials.BROKER_USERS
            ],
        }
        with self.management() as api:
            api.post("/api/definitions", json=wanted).raise_for_status()
        return replace(self, vhost=name)

    def management(self) -> httpx.Client:
        """RabbitMQ's management API, as the operator."""
        password = self.home.secret(credentials.broker("operator"))
        return httpx.Client(
            base_url=self.management_url, auth=("operator", password), trust_env=False, timeout=10
        )


def free_ports() -> Ports:
    """A range of ports of which each is free now."""
    return Ports(holder.free_base())


def sweep(folder: Path) -> list[Path]:
    """End what runs killed before they could end it, and remove it; the homes swept."""
    swept = []
    for left in folder.glob(f"{PREFIX}*"):
        try:
            pid = (left / OWNER).read_text().partition(" ")[0]
            if _identity(int(pid)) == (left / OWNER).read_text():
                continue
            home = Home(left / "home")
            if (home.path / "stack.json").exists():
                Stack(home, home.ports()).kill()
        except (OSError, ValueError):
            # Being made just now, or another user's.
            continue
        shutil.rmtree(left, ignore_errors=True)
        swept.append(left)
    return swept


def _identity(pid: int) -> str:
    """The process, told apart from a later one of the same id by when it started."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return f"{pid} {fields[19]}"


def own_folder() -> Path:
    """A folder of this process's for servers that are not started yet; give it to remove."""
    sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    (folder / OWNER).write_text(_identity(os.getpid()))
    return folder


def remove(folder: Path) -> None:
    """End the servers of that folder, if somebody started them, and remove it."""
    home = Home(folder / "home")
    if (home.path / "stack.json").exists():
        Stack(home, home.ports()).kill()
    shutil.rmtree(folder, ignore_errors=True)


def infrastructure_in(folder: Path) -> Infrastructure:
    """The servers of that folder; the process that asks first starts them, while others wait."""
    home, run = Home(folder / "home"), folder / "run"
    with _alone(folder):
        if not run.exists():
            stack = Stack(home, free_ports())
            try:
                stack.up(only=services.INFRASTRUCTURE)
                _forget_idle_connections(stack)
            except BaseException:
                stack.kill()
                raise
            run.touch()
    return Infrastructure(Stack(home, home.ports()))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one process at a time is in such a block for that folder."""
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _forget_idle_connections(stack: Stack) -> None:
    admin = credentials.POOLER_ADMIN
    subprocess.run(
        [
            str(binaries.find().postgres / "psql"),
            f"host={HOST} port={stack.ports.of('pgbouncer')} user={admin} dbname=pgbouncer",
            f"--command=SET server_idle_timeout = {IDLE_S}",
        ],
        env={"PGPASSWORD": stack.home.secret(credentials.postgres(admin))},
        check=True,
        capture_output=True,
        timeout=60,
    )


@contextmanager
def private_infrastructure(
    only: tuple[str, ...] = services.INFRASTRUCTURE,
) -> Iterator[Infrastructure]:
    """Start the servers in a folder of their own, and end them and remove it afterwards.

    only: which of them. The database `loom` has its roles, and no schema yet.
    """
    folder = own_folder()
    stack = Stack(Home(folder / "home"), free_ports())
    try:
        stack.up(only=only)
        yield Infrastructure(stack)
    finally:
        remove(folder)
