"""A private PgBouncer that pools transactions. Settings are those of PgBouncer 1.18."""

from __future__ import annotations

from collections.abc import Mapping

from loom.stack.binaries import Binaries
from loom.stack.credentials import POOLER_ADMIN
from loom.stack.home import Home
from loom.stack.ports import Addresses


def config(home: Home, addresses: Addresses) -> str:
    """The text of pgbouncer.ini."""
    server, own = addresses.address("postgres"), addresses.address("pgbouncer")
    return f"""\
[databases]
* = host={server.host} port={server.port}

[pgbouncer]
listen_addr = {own.bind}
listen_port = {own.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {home.etc / "pgbouncer-users.txt"}
admin_users = {POOLER_ADMIN}
pool_mode = transaction
# Only for session pooling: a pooled transaction leaves nothing behind.
server_reset_query = DISCARD ALL
server_reset_query_always = 0
ignore_startup_parameters = extra_float_digits
max_client_conn = 500
# Two roles on one database: 2 x 25, far below PostgreSQL's 200, which must do for migrations,
# for LISTEN, and for what else an operator connects.
default_pool_size = 25
min_pool_size = 2
reserve_pool_size = 5
reserve_pool_timeout = 2
server_idle_timeout = 300
server_lifetime = 3600
# A start beside PostgreSQL's own, or its restart, is over in seconds.
server_login_retry = 1
server_connect_timeout = 5
query_wait_timeout = 15
idle_transaction_timeout = 60
client_login_timeout = 15
tcp_keepalive = 1
log_connections = 0
log_disconnections = 0
stats_period = 60
"""


def users(passwords: Mapping[str, str]) -> str:
    """The text of the auth_file: PgBouncer needs the passwords, to log in at PostgreSQL."""
    return "".join(f'"{role}" "{password}"\n' for role, password in passwords.items())


def server_command(binaries: Binaries, home: Home) -> list[str]:
    """The argv of the pooler."""
    return [str(binaries.pgbouncer), "--quiet", str(home.etc / "pgbouncer.ini")]
