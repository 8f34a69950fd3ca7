"""The control plane's app over a ledger in memory, and the calls that tests make of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import remembered  # noqa: F401
from argon2 import PasswordHasher
from declared_answers import Checked
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from loom.control.app import create_app
from loom.control.passwords import Passwords
from loom.domain.evidence import Outcome
from loom.domain.identity import new_message_id
from loom.messaging.result import report
from loom.rpc.callers import digest
from loom.settings import ControlSettings
from loom.testing.ledger import FakeLedger

TOKEN = "a token"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PROJECT = {"id": "shop", "repository": "/srv/git/shop.git", "test_command": ["true"]}


def make_app(ledger: Any, **more: Any) -> Flask:
    """The app with the token above; what it answers is held to what its routes declare."""
    app = create_app(
        ledger, ControlSettings(token_sha256=digest(TOKEN), **more), passwords=Passwords(CHEAP)
    )
    app.test_client_class = Checked
    return app


@dataclass
class Api:
    """Authorised calls."""

    ledger: FakeLedger = field(default_factory=FakeLedger)

    @cached_property
    def app(self) -> Flask:
        """The app, unless a test puts in another before it asks for anything."""
        return make_app(self.ledger)

    @cached_property
    def client(self) -> FlaskClient:
        """Of the app."""
        return self.app.test_client()

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.client.get(path, headers=BEARER | headers)

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> TestResponse:
        return self.client.post(path, json=body, headers=BEARER | (headers or {}))

    def post_raw(
        self, path: str, body: bytes, content_type: str = "application/json", **more: Any
    ) -> TestResponse:
        return self.client.post(path, data=body, content_type=content_type, headers=BEARER, **more)

    def file(self, **bead: Any) -> dict[str, Any]:
        answer = self.post("/api/v1/projects/shop/beads", {"title": "Do it", **bead})
        assert answer.status_code == 202, answer.text
        return dict(answer.get_json())


def finish(ledger: FakeLedger, bead_id: str, outcome: Outcome) -> None:
    """Claim the bead, if nobody has, and report the outcome of the attempt."""
    bead = ledger.get_bead(bead_id)
    epoch = bead.epoch or ledger.claim_bead(bead_id, 1, "agent-shop").epoch
    result = report(
        outcome,
        message_id=new_message_id(),
        project_id=bead.project_id,
        bead_id=bead_id,
        agent_id="agent-shop",
        epoch=epoch,
        correlation_id=bead.correlation_id,
        timestamp=datetime.now(UTC),
    )
    ledger.record_results([(result, "")])


def problem(answer: TestResponse, status: int, code: str) -> dict[str, Any]:
    """The problem document of the answer, with what every one of them has."""
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    document = dict(answer.get_json())
    assert (document["status"], document["code"]) == (status, code), document
    assert document["type"] == f"urn:loom:problem:{code}"
    assert document["title"]
    assert document["detail"]
    assert document["instance"] == answer.request.path
    assert document["correlation_id"] == answer.headers["X-Correlation-Id"]
    return document
