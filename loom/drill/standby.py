"""PostgreSQL twice: a primary and a synchronous standby that can take its place.

A commit is answered when the standby has it on its disk too (synchronous_standby_names): what was
acknowledged is there after a promotion. Without a standby the primary answers alone.
"""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

from loom.drill.keeper import Keeper
from loom.drill.ports import ScratchPorts
from loom.errors import DeadlineExceeded, Unavailable
from loom.stack import credentials, pgbouncer, postgres, probe, render, services
from loom.stack.binaries import Binaries
from loom.stack.home import Home
from loom.stack.ports import HOST
from loom.stack.program import Program

SERVERS = ("postgres-a", "postgres-b")
REPLICATOR = "loom_replicator"
SLOT = "drill"
POOLER = "pgbouncer"
PATIENCE_S = 60.0
LOOK_EVERY_S = 0.05


class Replication:
    """The two servers of one scratch stack, and the pooler in front of the primary."""

    def __init__(
        self, plan: render.Plan, ports: ScratchPorts, keeper: Keeper, programs: Binaries
    ) -> None:
        self._plan, self._ports, self._keeper, self._programs = plan, ports, keeper, programs
        self.primary, self.standby = SERVERS

    def home(self, server: str) -> Home:
        """The folder of one server."""
        return Home(self._plan.home.path / "nodes" / server)

    def lay_out(self) -> None:
        """Write what the servers and the pooler read."""
        who, home = self._plan.accounts, self._plan.home
        credentials.ensure(home, who, credentials.postgres(REPLICATOR))
        superuser = home.secret(credentials.postgres(postgres.SUPERUSER)) + "\n"
        access = postgres.access() + f"host replication {REPLICATOR} {HOST}/32 scram-sha-256\n"
        for server in SERVERS:
            own = self.home(server)
            for folder in (own.path, own.etc, own.postgres):
                who.folder(folder, who.postgres, 0o700)
            who.write(own.etc / "pg_hba.conf", access, who.postgres)
            who.write(own.etc / "postgres-superuser", superuser, who.postgres)
            self._configure(server)
        self._configure_pooler()
        roles = ("loom_service", "loom_reader", credentials.POOLER_ADMIN)
        pooled = self._plan.passwords(credentials.postgres, *roles)
        who.write(home.etc / "pgbouncer-users.txt", pgbouncer.users(pooled), who.postgres)

    def start(self) -> None:
        """Start the primary, the standby as its copy, and the pooler."""
        self._keeper.add(self._program(self.primary))
        self._await(self.primary)
        plan = self._plan
        where = self._ports.seen_as({"postgres": self.primary})
        postgres.make_roles(self._programs, where, plan.role_passwords())
        password = plan.home.secret(credentials.postgres(REPLICATOR))
        self.ask(self.primary, f"CREATE ROLE {REPLICATOR} LOGIN REPLICATION PASSWORD '{password}'")
        self._copy()
        self._keeper.add(self._program(self.standby))
        self._follow()
        command = pgbouncer.server_command(self._programs, plan.home)
        self._keeper.add(
            Program(POOLER, command, plan.accounts.postgres, stop_signal="INT", stop_wait_s=5)
        )

    def promote(self) -> None:
        """Make the standby the primary, for a primary that is down and stays down."""
        if self._keeper.pid(self.primary):
            raise Unavailable(f"{self.primary} runs: end it before another takes its place")
        self.ask(self.standby, "SELECT pg_promote(true, 60)")
        self.primary, self.standby = self.standby, self.primary
        self._configure(self.primary)
        self.ask(self.primary, "SELECT pg_reload_conf()")
        self._configure_pooler()
        self.ask_pooler("RELOAD")

    def rejoin(self) -> None:
        """Make the old primary a copy of the new one, and its standby."""
        self._copy()
        self._keeper.release(self.standby)
        self._follow()

    def in_step(self) -> bool:
        """The standby has what the primary answers."""
        try:
            states = self.ask(
                self.primary, "SELECT string_agg(sync_state, ',') FROM pg_stat_replication"
            )
        except Unavailable:
            return False
        return states == "sync"

    def ask(self, server: str, statement: str) -> str:
        """What psql says as the superuser; raises Unavailable with its words."""
        secret = self._plan.home.secret(credentials.postgres(postgres.SUPERUSER))
        return self._psql(self._ports.of(server), postgres.SUPERUSER, "postgres", secret, statement)

    def ask_pooler(self, command: str) -> str:
        """What PgBouncer's console says to the command."""
        admin = credentials.POOLER_ADMIN
        secret = self._plan.home.secret(credentials.postgres(admin))
        return self._psql(self._ports.of(POOLER), admin, "pgbouncer", secret, command)

    def volume(self, server: str) -> Path:
        """The folder that holds the server's data."""
        return self.home(server).path / "data"

    def volumes(self) -> list[Path]:
        """That of each."""
        return [self.volume(server) for server in SERVERS]

    def port(self) -> int:
        """Where the primary listens."""
        return self._ports.of(self.primary)

    def _copy(self) -> None:
        """Take the standby's cluster from the primary."""
        self.ask(
            self.primary,
            f"SELECT pg_create_physical_replication_slot('{SLOT}', true)",
        )
        cluster = self.home(self.standby).postgres / "cluster"
        if cluster.exists():
            shutil.rmtree(cluster)
        argv = [
            str(self._programs.postgres / "pg_basebackup"),
            *("-h", HOST, "-p", str(self.port()), "-U", REPLICATOR, "--no-password"),
            *("-D", str(cluster), "--wal-method=stream", "--checkpoint=fast", "--no-sync"),
        ]
        password = self._plan.home.secret(credentials.postgres(REPLICATOR))
        done = self._keeper.run(self._plan.accounts.postgres, argv, {"PGPASSWORD": password})
        if done.returncode:
            raise Unavailable(f"no copy of the primary could be made: {done.stderr.strip()}")
        self._plan.accounts.write(cluster / "standby.signal", "", self._plan.accounts.postgres)
        self._configure(self.standby)

    def _follow(self) -> None:
        """Wait until the standby streams, and answer from then on for both."""
        deadline = time.monotonic() + PATIENCE_S
        self._configure(self.primary, synchronous=True)
        self.ask(self.primary, "SELECT pg_reload_conf()")
        while not self.in_step():
            if time.monotonic() > deadline:
                log = self._plan.home.log(self.standby)
                raise DeadlineExceeded(f"the standby does not stream; its log is {log}")
            time.sleep(LOOK_EVERY_S)

    def _program(self, server: str) -> Program:
        return Program(
            server,
            services.python("loom.stack.initdb"),
            self._plan.accounts.postgres,
            {"LOOM_HOME": str(self.home(server).path)},
            stop_signal=signal.SIGINT.name.removeprefix("SIG"),
            stop_wait_s=40,
        )

    def _configure(self, server: str, *, synchronous: bool = False) -> None:
        text = postgres.config(self.home(server), self._ports.seen_as({"postgres": server}))
        password = self._plan.home.secret(credentials.postgres(REPLICATOR))
        (other,) = set(SERVERS) - {server}
        text += f"""\
cluster_name = '{server}'
max_wal_senders = 5
max_slot_wal_keep_size = 128MB
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 200ms
wal_sender_timeout = 10s
wal_receiver_timeout = 10s
max_wal_size = 128MB
min_wal_size = 32MB
synchronous_commit = on
synchronous_standby_names = '{other.replace("-", "_") if synchronous else ""}'
primary_slot_name = '{SLOT}'
primary_conninfo = 'host={HOST} port={self._ports.of(other)} user={REPLICATOR} \
password={password} application_name={server.replace("-", "_")}'
"""
        self._plan.accounts.write(
            self.home(server).etc / "postgresql.conf", text, self._plan.accounts.postgres
        )

    def _configure_pooler(self) -> None:
        where = self._ports.seen_as({"postgres": self.primary})
        text = pgbouncer.config(self._plan.home, where)
        # A database that is named follows a RELOAD; one that the star made keeps its address.
        named = f"[databases]\n{postgres.DATABASE} = host={HOST} port={self.port()}\n"
        text = text.replace("[databases]\n", named)
        self._plan.accounts.write(
            self._plan.home.etc / "pgbouncer.ini", text, self._plan.accounts.postgres
        )

    def _await(self, server: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not probe.postgres(self._ports.of(server)).well:
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"{server} does not start; its log is {self._plan.home.log(server)}"
                )
            time.sleep(LOOK_EVERY_S)

    def _psql(self, port: int, user: str, database: str, secret: str, statement: str) -> str:
        argv = [
            str(self._programs.postgres / "psql"),
            *("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--no-password"),
            *("-v", "ON_ERROR_STOP=1", "-h", HOST, "-p", str(port), "-U", user, "-d", database),
            "--file=-",
        ]
        environment = {"PGPASSWORD": secret, "PGCONNECT_TIMEOUT": "5"}
        said = self._keeper.run(self._plan.accounts.operator, argv, environment, 90, statement)
        if said.returncode:
            raise Unavailable(f"psql at port {port} failed: {said.stderr.strip()[-500:]}")
        return said.stdout.strip()
