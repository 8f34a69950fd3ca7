"""An app with two projects, and everybody who may ask it something."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from argon2 import PasswordHasher
from control_api import CHEAP, TOKEN
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from loom.control import csrf
from loom.control.app import create_app
from loom.control.passwords import Passwords
from loom.domain.access import Role
from loom.domain.account import NewToken, User, new_token
from loom.domain.audit import Intervention
from loom.domain.bead import NewBead
from loom.domain.presence import Registration
from loom.domain.project import Project
from loom.messaging.deadletter import DeadLetter
from loom.rpc.callers import digest
from loom.settings import ControlSettings
from loom.settings.oidc import OidcSettings
from loom.testing.ledger import FakeLedger

BY = Intervention("operator", "for a test")
PASSWORD = "correct horse battery"


@dataclass
class World:
    """Project alpha has one of everything, and so has beta."""

    ledger: FakeLedger = field(default_factory=FakeLedger)
    settings: Mapping[str, Any] = field(default_factory=dict)
    oidc: OidcSettings | None = None
    hasher: PasswordHasher = CHEAP

    def __post_init__(self) -> None:
        settings = ControlSettings(token_sha256=digest(TOKEN), **self.settings)
        self.app: Flask = create_app(
            self.ledger, settings, oidc=self.oidc, passwords=Passwords(self.hasher)
        )
        self.beads: dict[str, str] = {}
        for project_id in ("alpha", "beta"):
            self.ledger.create_project(Project(project_id, "/srv/repo.git"), "corr")
            (bead,) = self.ledger.create_beads(
                project_id, [NewBead(f"mend {project_id}")], "corr"
            ).items
            self.beads[project_id] = bead.id
            name = f"agent-{project_id}@host"
            self.ledger.register_agent(Registration(name, project_id, "1", host="h", pid=1))
            letter = DeadLetter(
                message_id=f"m-{project_id}", queue=f"loom.tasks.{project_id}",
                project_id=project_id, bead_id="", epoch=0, reason="malformed", detail="no JSON",
                correlation_id="corr", headers="{}", deaths="[]", body=b"{",
                fingerprint=f"fp-{project_id}",
            )  # fmt: skip
            self.ledger.record_dead_letters([letter])

    def client(self) -> FlaskClient:
        """Somebody's browser or program, without anything yet."""
        return self.app.test_client()

    def token(
        self, role: Role | None = None, projects: Mapping[str, Role] | None = None, **more: Any
    ) -> str:
        """A token's text."""
        secret = new_token()
        new = NewToken(secret.id, "ci", digest(secret.text), role, projects or {}, **more)
        self.ledger.create_token(new, BY)
        return secret.text

    def user(
        self, name: str = "grace", role: Role | None = None,
        projects: Mapping[str, Role] | None = None,
    ) -> str:  # fmt: skip
        """A user with the password above."""
        wanted = User(name, role, projects or {})
        self.ledger.create_user(wanted, CHEAP.hash(PASSWORD), BY)
        return name

    def login(
        self, client: FlaskClient, name: str = "grace", password: str = PASSWORD, **form: str
    ) -> TestResponse:
        """Log in, as a browser does."""
        page = client.get("/login", headers={"Accept": "text/html"})
        assert page.status_code == 200, page.text
        cookie = client.get_cookie("loom_form", path="/login")
        assert cookie is not None
        data = {"name": name, "password": password, "csrf_token": csrf.token(cookie.value)}
        return client.post("/login", data=data | form)

    def secret(self, client: FlaskClient) -> str:
        """What the browser's session cookie holds; empty without one."""
        cookie = client.get_cookie("loom_session")
        return cookie.value if cookie else ""


def bearer(token: str) -> dict[str, str]:
    """The header by which a program shows its token."""
    return {"Authorization": f"Bearer {token}"}
