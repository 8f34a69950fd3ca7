"""A private PostgreSQL: its configuration, its roles, and how a tool of its own reaches it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from loom.errors import Unavailable
from loom.stack.binaries import Binaries
from loom.stack.home import Home
from loom.stack.ports import HOST, Addresses

DATABASE = "loom"
SUPERUSER = "postgres"
ROLES_SQL = Path(__file__).with_name("roles.sql")


def config(home: Home, addresses: Addresses) -> str:
    """The text of postgresql.conf: for a small machine, and over TCP alone."""
    own = addresses.address("postgres")
    return f"""\
listen_addresses = '{own.bind}'
port = {own.port}
# A socket's path may have 107 bytes, which a state folder easily passes.
unix_socket_directories = ''
hba_file = '{home.etc / "pg_hba.conf"}'
password_encryption = 'scram-sha-256'
max_connections = 200
shared_buffers = 128MB
effective_cache_size = 1GB
max_wal_size = 1GB
wal_level = replica
wal_compression = on
checkpoint_completion_target = 0.9
idle_in_transaction_session_timeout = 60s
track_io_timing = on
timezone = 'UTC'
log_timezone = 'UTC'
log_min_duration_statement = 1s
log_line_prefix = '%m [%p] %q%u@%d '
logging_collector = off
"""


def access() -> str:
    """The text of pg_hba.conf: every connection shows a password, by scram."""
    return f"host all all {HOST}/32 scram-sha-256\n"


def server_command(binaries: Binaries, home: Home) -> list[str]:
    """The argv of the server, once its cluster exists."""
    return [
        str(binaries.postgres / "postgres"),
        "-D",
        str(home.postgres / "cluster"),
        "-c",
        f"config_file={home.etc / 'postgresql.conf'}",
    ]


def make_roles(
    binaries: Binaries, addresses: Addresses, passwords: Mapping[str, str], database: str = DATABASE
) -> None:
    """Make the roles and the database, or bring what is there up to date.

    passwords: of every role, the superuser's included. They pass by stdin and the environment,
    so that no process list shows them. Raises Unavailable with psql's words.
    """
    own = addresses.address("postgres")
    answer = subprocess.run(
        [
            str(binaries.postgres / "psql"),
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            f"--host={own.host}",
            f"--port={own.port}",
            f"--username={SUPERUSER}",
            "--dbname=postgres",
            "--output=/dev/null",
        ],
        input=roles_script(passwords, database),
        env={
            "PATH": os.environ.get("PATH", ""),
            "PGPASSWORD": passwords[SUPERUSER],
            "PGCONNECT_TIMEOUT": "10",
            "PGOPTIONS": "-c client_min_messages=warning",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if answer.returncode:
        raise Unavailable(
            f"PostgreSQL at {own} did not make Loom's roles: {answer.stderr.strip()[-2000:]}",
        )


def roles_script(passwords: Mapping[str, str], database: str = DATABASE) -> str:
    """What psql runs as the superuser to make the roles and the database."""
    variables = {"database": database} | {
        f"{role}_password": password for role, password in passwords.items() if role != SUPERUSER
    }
    assigned = "".join(f"\\set {name} '{value}'\n" for name, value in variables.items())
    return assigned + ROLES_SQL.read_text()
