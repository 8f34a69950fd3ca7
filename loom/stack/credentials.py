"""The secrets of a stack: generated at its first start, kept, and never shown by accident."""

from __future__ import annotations

import base64
import hashlib
import secrets

from loom.stack.accounts import Accounts
from loom.stack.home import Home

API_TOKEN = "api-token"  # noqa: S105 - the name of a file
SUPERVISOR = "supervisor-password"
FLOWER = "flower-password"
COOKIE = "erlang-cookie"

BROKER_USERS = ("control", "dispatcher", "ingester", "engine", "flower", "operator")
"""Loom's own users on the broker; each agent has one more, which the fleet makes."""
LEDGER_CALLERS = ("control", "dispatcher", "ingester", "engine", "connectors", "operator")
"""Who calls the database service; each agent is one more."""
CONNECTORS_CALLERS = ("control", "operator")
"""Who calls the connectors service; each agent is one more."""
POSTGRES_ROLES = ("postgres", "loom_owner", "loom_service", "loom_reader")
POOLER_ADMIN = "loom_operator"


def broker(user: str) -> str:
    """The name of the secret that is this broker user's password."""
    return f"broker-{user}"


def ledger(caller: str) -> str:
    """The name of the secret that is this caller's token for the database service."""
    return f"ledger-{caller}"


def connectors(caller: str) -> str:
    """The name of the secret that is this caller's token for the connectors service."""
    return f"connectors-{caller}"


def postgres(role: str) -> str:
    """The name of the secret that is this role's password."""
    return f"postgres-{role}"


def ensure(home: Home, accounts: Accounts, *names: str) -> None:
    """Generate each secret that is not there yet: 256 bits, for the operator's eyes alone."""
    for name in names:
        if not (home.secrets / name).exists():
            accounts.write(home.secrets / name, secrets.token_hex(32) + "\n", accounts.operator)


def every_name() -> tuple[str, ...]:
    """The names of the secrets that a stack has before it has a project."""
    return (
        API_TOKEN,
        SUPERVISOR,
        FLOWER,
        COOKIE,
        *(broker(user) for user in BROKER_USERS),
        *(ledger(caller) for caller in LEDGER_CALLERS),
        *(connectors(caller) for caller in CONNECTORS_CALLERS),
        *(postgres(role) for role in (*POSTGRES_ROLES, POOLER_ADMIN)),
    )


def sha256(secret: str) -> str:
    """The hash that a service compares a token with, in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def broker_hash(password: str, salt: bytes) -> str:
    """The password as RabbitMQ stores it: base64(salt + sha256(salt + password)), salt 4 bytes.

    Source: rabbitmq.com/docs/passwords, 'computing a password hash'.
    """
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def salt_of(password: str) -> bytes:
    """A salt that stays the same for one password, so that rendering twice gives one text."""
    return hashlib.sha256(b"loom broker salt" + password.encode()).digest()[:4]
