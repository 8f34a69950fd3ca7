"""People, their sessions and the tokens of programs: what each is, and the forms they have."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from loom.domain.access import Principal, Role
from loom.domain.identity import check_project_id
from loom.errors import Invalid

USER_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._@+-]{0,62}[a-z0-9])?")
TOKEN_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._@+-]{0,62}[A-Za-z0-9])?")
TOKEN = re.compile(r"loom_([0-9a-f]{12})_[0-9a-f]{64}")
SHA256 = re.compile(r"[0-9a-f]{64}")
SERVICES = frozenset(
    {"operator", "control", "database", "connectors", "dispatcher", "ingester", "engine", "fleet"}
)
"""Who stands in the audit trail under these names is no person."""
MAX_PROJECTS = 1_000
SEEN_S = 60.0
"""How exactly the ledger knows when a token or a session was last used."""


@dataclass(frozen=True, slots=True)
class User:
    """A person. role: in every project, if any. projects: roles in single ones, by their ids.

    subject: who vouches for the person, and by which name; empty for a user of Loom's own.
    """

    name: str
    role: Role | None = None
    projects: Mapping[str, Role] = field(default_factory=dict)
    disabled: bool = False
    has_password: bool = False
    subject: str = ""
    created_at: datetime | None = None
    last_login_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A login of a person that has not ended. method: password or oidc."""

    id: str
    user: str
    method: str
    address: str
    agent: str
    created_at: datetime
    expires_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class Token:
    """A program's token, without its secret. last_used_at: to the minute."""

    id: str
    name: str
    role: Role | None
    projects: Mapping[str, Role]
    made_by: str
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose token or session it is. id: of the token or session; user: empty for a token."""

    id: str
    principal: Principal
    user: str = ""


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session to be opened. sha256: of its cookie; idle_s: it ends after as long unused."""

    id: str
    user: str
    sha256: str
    method: str
    address: str
    agent: str
    life_s: float
    idle_s: float


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token to be kept. sha256: of the whole of it."""

    id: str
    name: str
    sha256: str
    role: Role | None = None
    projects: Mapping[str, Role] = field(default_factory=dict)
    expires_at: datetime | None = None


class Secret(NamedTuple):
    """A fresh token: its id, which anybody may know, and all of it."""

    id: str
    text: str


def new_token() -> Secret:
    """A token of 256 random bits."""
    id_ = secrets.token_hex(6)
    return Secret(id_, f"loom_{id_}_{secrets.token_hex(32)}")


def token_actor(id_: str, name: str) -> str:
    """What the audit trail calls who acts by a token."""
    return f"token:{name}/{id_}"


def check_user_name(name: str) -> str:
    """The name; raises Invalid for one that a person cannot have."""
    if not USER_NAME.fullmatch(name):
        raise Invalid(
            f"{name[:80]!r} is no user name: 1 to 64 of a-z, 0-9 and '.', '_', '@', '+', '-', "
            "beginning and ending with a letter or a digit",
            field="name",
        )
    if name in SERVICES or name.startswith("agent-"):
        raise Invalid(f"{name} is the name of one of Loom's services: take another", field="name")
    return name


def check_token_name(name: str) -> str:
    """The name; raises Invalid for one that a token cannot have."""
    if not TOKEN_NAME.fullmatch(name):
        raise Invalid(
            f"{name[:80]!r} is no name for a token: 1 to 64 letters, digits, spaces and '.', '_', "
            "'@', '+', '-', beginning and ending with a letter or a digit",
            field="name",
        )
    return name


def check_projects(projects: Mapping[str, Role]) -> Mapping[str, Role]:
    """Roles in single projects; raises Invalid for ids that no project has, and for too many."""
    for project_id in projects:
        check_project_id(project_id)
    if len(projects) > MAX_PROJECTS:
        raise Invalid(f"at most {MAX_PROJECTS} projects can be named", field="projects")
    return projects


def check_digest(sha256: str) -> str:
    """The SHA-256; raises Invalid unless it is one, in hex."""
    if not SHA256.fullmatch(sha256):
        raise Invalid("sha256 has to be 64 hexadecimal digits", field="sha256")
    return sha256
