"""The database service's own settings, and how every other service reaches it."""

from __future__ import annotations

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from loom.settings.source import Settings


class LedgerSettings(Settings):
    """LOOM_DATABASE_*: the database service alone has these.

    host and port are PgBouncer's; direct_host and direct_port are PostgreSQL's own, for LISTEN.
    tokens_file: a line `<service> <sha256 of its token>` for each caller.
    """

    model_config = SettingsConfigDict(env_prefix="LOOM_DATABASE_")

    listen: str = "127.0.0.1:8089"
    host: str = "127.0.0.1"
    port: int = 6432
    direct_host: str = "127.0.0.1"
    direct_port: int = 5432
    name: str = "loom"
    user: str = "loom_service"
    password: SecretStr
    reader_user: str = "loom_reader"
    reader_password: SecretStr
    tokens_file: str
    pool_size: int = 8
    threads: int = 24
    max_transactions: int = 4
    """How many BeginTransaction may pin a connection at once."""
    transaction_timeout_s: float = 15.0
    lease_s: float = 30.0
    """Seconds an attempt's lease lasts from its claim or its last renewal."""
    outbox_lease_s: float = 15.0
    outbox_high_water: int = 500_000
    """Messages that may wait for the broker before no more beads are accepted."""


class LedgerClientSettings(Settings):
    """LOOM_LEDGER_*: how a service calls the database service.

    target: a name as gRPC takes it; several as `ipv4:127.0.0.1:8089,127.0.0.1:8090`, which take
    turns.
    """

    model_config = SettingsConfigDict(env_prefix="LOOM_LEDGER_")

    target: str = "127.0.0.1:8089"
    token: SecretStr
    deadline_s: float = 5.0


class MigrationSettings(Settings):
    """LOOM_MIGRATE_*: what migrations run with: the schema's owner, without the pooler."""

    model_config = SettingsConfigDict(env_prefix="LOOM_MIGRATE_")

    host: str = "127.0.0.1"
    port: int = 5432
    name: str = "loom"
    user: str = "loom_owner"
    password: SecretStr
