"""Writes what every process of a stack reads: folders, secrets, configuration, settings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from loom.errors import Invalid
from loom.messaging.topology import Permission, permission_of
from loom.stack import credentials, flower, pgbouncer, postgres, rabbitmq
from loom.stack.accounts import Account, Accounts
from loom.stack.home import Home, StackSettings, as_settings_file
from loom.stack.ports import Addresses

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds loom/, workers/ and celeryconfig.py."""


NO_SERVICE = {"cli", "testing"}
"""Folders whose code no service runs."""

OWN_CONTROL_SETTINGS = (
    "LOOM_CONTROL_OIDC_", "LOOM_CONTROL_HTTPS", "LOOM_CONTROL_PROXIES", "LOOM_CONTROL_SESSION_",
    "LOOM_CONTROL_REQUESTS_",
)  # fmt: skip
"""How settings begin that the operator may add to those of the control plane."""
OWN_CONNECTORS_SETTINGS = (
    "LOOM_S3_", "LOOM_CONNECTORS_MAX_", "LOOM_CONNECTORS_KEEP_", "LOOM_WEBHOOKS_",
)  # fmt: skip
"""How settings begin that the operator may add to those of the connectors service."""


@dataclass(frozen=True, slots=True)
class Plan:
    """All that decides what a stack looks like."""

    home: Home
    addresses: Addresses
    accounts: Accounts
    settings: StackSettings

    def passwords(self, name: Callable[[str], str], *users: str) -> dict[str, str]:
        """The secret of each user; name: credentials.broker, .ledger or .postgres."""
        return {user: self.home.secret(name(user)) for user in users}

    def role_passwords(self) -> dict[str, str]:
        """The password of every PostgreSQL role, the superuser's included."""
        return self.passwords(credentials.postgres, *credentials.POSTGRES_ROLES)


def lay_out(plan: Plan) -> None:
    """Make the folders, and the secrets that are not there yet."""
    home, who = plan.home, plan.accounts
    # Others pass through the home to what is theirs, and see no list of it.
    for folder, mode in (
        (home.path, 0o711),
        (home.secrets, 0o700),
        (home.etc, 0o711),
        (home.agent_programs, 0o700),
        (home.posts, 0o700),
        (home.logs, 0o700),
        (home.run, 0o755),
        (home.path / "data", 0o711),
        (home.workspaces, 0o711),
    ):
        who.folder(folder, who.operator, mode)
    who.folder(home.postgres, who.postgres, 0o700)
    who.folder(home.rabbitmq, who.rabbitmq, 0o700)
    who.folder(home.artifacts, who.service, 0o700)
    credentials.ensure(home, who, *credentials.every_name())


def write_all(plan: Plan, more_users: Mapping[str, Permission] | None = None) -> None:
    """Render every file that some process reads. more_users: broker users beside Loom's own."""
    home, where, who = plan.home, plan.addresses, plan.accounts
    etc = home.etc

    users = {user: permission_of(user) for user in credentials.BROKER_USERS}
    users |= more_users or {}
    who.write(etc / "rabbitmq.conf", rabbitmq.config(home, where), who.rabbitmq)
    who.write(etc / "rabbitmq-plugins", rabbitmq.enabled_plugins(), who.rabbitmq)
    who.write(
        etc / "rabbitmq-definitions.json",
        rabbitmq.definitions(plan.passwords(credentials.broker, *users), users),
        who.rabbitmq,
    )
    cookie = home.rabbitmq / ".erlang.cookie"
    who.write(cookie, home.secret(credentials.COOKIE), who.rabbitmq, 0o400)

    roles = plan.role_passwords()
    pooled = {role: roles[role] for role in ("loom_service", "loom_reader")}
    pooled[credentials.POOLER_ADMIN] = home.secret(credentials.postgres(credentials.POOLER_ADMIN))
    who.write(etc / "postgresql.conf", postgres.config(home, where), who.postgres)
    who.write(etc / "pg_hba.conf", postgres.access(), who.postgres)
    who.write(etc / "postgres-superuser", roles["postgres"] + "\n", who.postgres)
    who.write(etc / "pgbouncer.ini", pgbouncer.config(home, where), who.postgres)
    who.write(etc / "pgbouncer-users.txt", pgbouncer.users(pooled), who.postgres)

    who.write(etc / "flower.py", flower.config(home, where), who.service)
    write_tokens(plan)
    for service, values in service_settings(plan).items():
        owner = _owner(plan, service)
        who.write(home.settings_file(service), as_settings_file(values), owner)


def beside(where: Addresses) -> dict[str, str | int]:
    """Where a browser on this machine finds the pages beside Loom's; in a network of their own
    nobody can say that here.
    """
    found = {
        "LOOM_CONTROL_FLOWER_URL": where.address("flower"),
        "LOOM_CONTROL_BROKER_URL": where.address("management"),
    }
    return {name: f"http://{at}" for name, at in found.items() if at.host == at.bind}


def write_tokens(plan: Plan) -> None:
    """Write who may call each gRPC service; it reads its file again when that changes."""
    for file, prefix in (
        (plan.home.tokens_file, credentials.ledger("")),
        (plan.home.connectors_tokens_file, credentials.connectors("")),
    ):
        lines = [
            f"{secret.name.removeprefix(prefix)} {credentials.sha256(secret.read_text().strip())}\n"
            for secret in sorted(plan.home.secrets.glob(f"{prefix}*"))
        ]
        plan.accounts.write(file, "".join(lines), plan.accounts.service)


def service_settings(plan: Plan) -> dict[str, dict[str, str | int]]:
    """The settings file of each service of Loom's own, as variables."""
    home, where = plan.home, plan.addresses
    server, pooler = where.address("postgres"), where.address("pgbouncer")
    roles = plan.role_passwords()

    def listen(name: str) -> str:
        address = where.address(name)
        return f"{address.bind}:{address.port}"

    common: dict[str, str | int] = {
        "LOOM_LOG_LEVEL": plan.settings.log_level,
        "LOOM_OTLP_ENDPOINT": plan.settings.otlp_endpoint,
    }
    return {
        "migrate": common
        | {
            "LOOM_MIGRATE_HOST": server.host,
            "LOOM_MIGRATE_PORT": server.port,
            "LOOM_MIGRATE_NAME": postgres.DATABASE,
            "LOOM_MIGRATE_USER": "loom_owner",
            "LOOM_MIGRATE_PASSWORD": roles["loom_owner"],
        },
        "database": common
        | {
            "LOOM_DATABASE_LISTEN": listen("database"),
            "LOOM_DATABASE_HOST": pooler.host,
            "LOOM_DATABASE_PORT": pooler.port,
            "LOOM_DATABASE_DIRECT_HOST": server.host,
            "LOOM_DATABASE_DIRECT_PORT": server.port,
            "LOOM_DATABASE_NAME": postgres.DATABASE,
            "LOOM_DATABASE_USER": "loom_service",
            "LOOM_DATABASE_PASSWORD": roles["loom_service"],
            "LOOM_DATABASE_READER_USER": "loom_reader",
            "LOOM_DATABASE_READER_PASSWORD": roles["loom_reader"],
            "LOOM_DATABASE_TOKENS_FILE": str(home.tokens_file),
        },
        "connectors": common
        | {
            "LOOM_CONNECTORS_LISTEN": listen("connectors"),
            "LOOM_CONNECTORS_TOKENS_FILE": str(home.connectors_tokens_file),
            "LOOM_CONNECTORS_FOLDER": str(home.artifacts),
        }
        | ledger_settings(plan, "connectors")
        | own_connectors_settings(home),
        "control": common
        | ledger_settings(plan, "control")
        | artifact_settings(plan, "control")
        | {
            "LOOM_CONTROL_LISTEN": listen("control"),
            "LOOM_CONTROL_TOKEN_SHA256": credentials.sha256(home.secret(credentials.API_TOKEN)),
        }
        | beside(where)
        | own_settings(home.control_own, OWN_CONTROL_SETTINGS)
        | counting_settings(plan, "control"),
        "dispatcher": common
        | ledger_settings(plan, "dispatcher")
        | broker_settings(plan, "dispatcher"),
        "ingester": common | ledger_settings(plan, "ingester") | broker_settings(plan, "ingester"),
        "engine": common | ledger_settings(plan, "engine") | counting_settings(plan, "engine"),
        "flower": common | broker_settings(plan, "flower"),
        "fleet": common
        | {
            "LOOM_SERVICE_USER": plan.settings.service_user,
            "LOOM_AGENT_USER": plan.settings.agent_user,
        },
        "operator": common | ledger_settings(plan, "operator") | broker_settings(plan, "operator"),
    }


def ledger_settings(plan: Plan, caller: str) -> dict[str, str | int]:
    """How this caller reaches the database service."""
    return {
        "LOOM_LEDGER_TARGET": str(plan.addresses.address("database")),
        "LOOM_LEDGER_TOKEN": plan.home.secret(credentials.ledger(caller)),
    }


def artifact_settings(plan: Plan, caller: str) -> dict[str, str | int]:
    """How this caller reaches the connectors service."""
    return {
        "LOOM_ARTIFACTS_TARGET": str(plan.addresses.address("connectors")),
        "LOOM_ARTIFACTS_TOKEN": plan.home.secret(credentials.connectors(caller)),
    }


def own_connectors_settings(home: Home) -> dict[str, str | int]:
    """What the operator wrote for the connectors service, which keeps artifacts in a bucket once
    one is named; raises Invalid for what is not theirs to set."""
    found = own_settings(home.connectors_own, OWN_CONNECTORS_SETTINGS)
    store = {"LOOM_CONNECTORS_STORE": "s3"} if "LOOM_S3_BUCKET" in found else {}
    return {**store, **found}


def own_settings(file: Path, allowed: tuple[str, ...]) -> dict[str, str | int]:
    """What the operator wrote into a file of settings, if there is one; raises Invalid for what
    does not begin as is allowed."""
    if not file.exists():
        return {}
    found = dotenv_values(file, interpolate=False)
    strange = [name for name in found if not name.startswith(allowed)]
    if strange:
        raise Invalid(
            f"{file} may hold {', '.join(allowed)}, and has {', '.join(sorted(strange))}",
            file=str(file),
        )
    return {name: text or "" for name, text in found.items()}


def broker_settings(plan: Plan, user: str) -> dict[str, str | int]:
    """How this user reaches the broker."""
    broker = plan.addresses.address("amqp")
    return {
        "LOOM_BROKER_HOST": broker.host,
        "LOOM_BROKER_PORT": broker.port,
        "LOOM_BROKER_VHOST": rabbitmq.VHOST,
        "LOOM_BROKER_USERNAME": user,
        "LOOM_BROKER_PASSWORD": plan.home.secret(credentials.broker(user)),
    }


def counting_settings(plan: Plan, user: str) -> dict[str, str | int]:
    """How this user counts the broker's messages."""
    url = f"http://{plan.addresses.address('management')}"
    return broker_settings(plan, user) | {"LOOM_BROKER_MANAGEMENT_URL": url}


def digest_of(*files: Path) -> str:
    """One hash over the files' contents: what was read from them at a start."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes() if file.is_file() else b"")
        digest.update(b"\0")
    return digest.hexdigest()[:16]


def code_digest(*packages: str) -> str:
    """One hash over the packages' source, so that new code restarts what runs it."""
    files = sorted(
        file
        for package in packages
        for file in (ROOT / package).rglob("*")
        if file.suffix in {".py", ".sql", ".html"} and not NO_SERVICE & set(file.parts)
    )
    return digest_of(*files, ROOT / "celeryconfig.py")


def _owner(plan: Plan, service: str) -> Account:
    by_operator: Mapping[str, Account] = {
        "migrate": plan.accounts.operator,
        "fleet": plan.accounts.operator,
        "operator": plan.accounts.operator,
    }
    return by_operator.get(service, plan.accounts.service)
