"""Logging in by a real, small OpenID Connect provider on loopback, and by forged answers of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from access_world import World
from flask.testing import FlaskClient
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.test import TestResponse

from loom.control.oidc import read_roles
from loom.domain.access import Role
from loom.errors import Invalid
from loom.settings.oidc import OidcSettings

CLIENT, SECRET, CODE = "loom", "the client's secret", "the code"
KEY = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})
STRANGER = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})


def _part(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


@dataclass
class Issuer:
    """A provider. claims, header, key: what its next id_token has that is not as it should be."""

    url: str = ""
    challenge: str = ""
    nonce: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    key: Any = field(default_factory=lambda: KEY)
    asked: list[dict[str, str]] = field(default_factory=list)

    def id_token(self) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": CLIENT, "sub": "17", "iat": now, "exp": now + 60,
            "nonce": self.nonce, "preferred_username": "Grace", "groups": ["staff", "others"],
        } | self.claims  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": "RS256", "kid": "k1"} | self.header
        if header["alg"] == "none":
            return f"{_part(header)}.{_part(claims)}."
        if header["alg"] == "HS256":
            signed = f"{_part(header)}.{_part(claims)}"
            mac = hmac.new(KEY.as_pem(private=False), signed.encode(), hashlib.sha256).digest()
            return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
        return jwt.encode(header, claims, self.key, algorithms=[header["alg"]])

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """What the provider says to Loom's own requests."""
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
                "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
            }
        if path == "/keys":
            return 200, {"keys": [KEY.as_dict(private=False)]}
        self.asked.append(form)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        if form.get("code") != CODE or challenge != self.challenge:
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "at", "token_type": "Bearer", "id_token": self.id_token()}


@pytest.fixture(scope="module")
def served() -> Iterator[Issuer]:
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def _say(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            form = parse_qs(self.rfile.read(length).decode())
            status, document = issuer.answer(self.path, {k: v[0] for k, v in form.items()})
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _say

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield issuer
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def issuer(served: Issuer) -> Issuer:
    served.claims, served.header, served.key, served.asked = {}, {}, KEY, []
    return served


@pytest.fixture
def world(issuer: Issuer, tmp_path: Path) -> World:
    (tmp_path / "secret").write_text(SECRET + "\n")
    return World(
        oidc=OidcSettings(
            issuer=issuer.url, client_id=CLIENT, client_secret_file=tmp_path / "secret",
            url="http://localhost", roles={"staff": "viewer", "shop-team": "operator:alpha"},
        )
    )  # fmt: skip


def leave(client: FlaskClient, issuer: Issuer) -> dict[str, str]:
    """Go to the provider; what Loom sends along."""
    answer = client.get("/login/with")
    assert answer.status_code == 302, answer.text
    assert answer.location.startswith(f"{issuer.url}/authorize?")
    sent = {name: values[0] for name, values in parse_qs(urlsplit(answer.location).query).items()}
    issuer.challenge, issuer.nonce = sent["code_challenge"], sent["nonce"]
    return sent


def back(client: FlaskClient, **query: str) -> TestResponse:
    return client.get("/login/back", query_string=query, headers={"Accept": "text/html"})


def entered(world: World, client: FlaskClient) -> bool:
    return bool(world.secret(client)) and client.get("/api/v1/me").status_code == 200


def test_somebody_logs_in_by_the_provider_with_the_roles_that_it_says(
    world: World, issuer: Issuer
) -> None:
    client = world.client()
    sent = leave(client, issuer)
    assert (sent["response_type"], sent["client_id"]) == ("code", CLIENT)
    assert sent["code_challenge_method"] == "S256"
    assert sent["redirect_uri"] == "http://localhost/login/back"
    answer = back(client, code=CODE, state=sent["state"])
    assert (answer.status_code, answer.location) == (303, "/")
    me = client.get("/api/v1/me").json
    assert (me["user"], me["role"], me["projects"]) == ("grace", "viewer", {})
    user = world.ledger.get_user("grace")
    assert user.subject == f"{issuer.url} 17"
    issuer.claims = {"groups": ["shop-team"]}
    again = leave(client, issuer)
    back(client, code=CODE, state=again["state"])
    assert client.get("/api/v1/me").json["projects"] == {"alpha": "operator"}
    assert client.get("/api/v1/me").json["role"] is None


def forgeries(issuer_url: str) -> dict[str, tuple[dict[str, Any], dict[str, Any], Any]]:
    """Claims, header and key of id_tokens that are not to be believed."""
    past = int(time.time()) - 3_600
    return {
        "no signature": ({}, {"alg": "none"}, KEY),
        "another one's signature": ({}, {}, STRANGER),
        "the public key as a secret": ({}, {"alg": "HS256"}, KEY),
        "another audience": ({"aud": "another"}, {}, KEY),
        "no audience": ({"aud": None}, {}, KEY),
        "another issuer": ({"iss": "https://evil.example"}, {}, KEY),
        "expired": ({"exp": past}, {}, KEY),
        "without an end": ({"exp": None}, {}, KEY),
        "of another login": ({"nonce": "another"}, {}, KEY),
        "without a nonce": ({"nonce": None}, {}, KEY),
        "nobody's": ({"sub": None}, {}, KEY),
        "without a name": ({"preferred_username": None}, {}, KEY),
        "by a service's name": ({"preferred_username": "operator"}, {}, KEY),
    }


@pytest.mark.parametrize("forgery", sorted(forgeries("")))
def test_a_forged_answer_gets_nobody_in(world: World, issuer: Issuer, forgery: str) -> None:
    client = world.client()
    sent = leave(client, issuer)
    issuer.claims, issuer.header, issuer.key = forgeries(issuer.url)[forgery]
    answer = back(client, code=CODE, state=sent["state"])
    assert answer.status_code in (401, 422), answer.text
    assert not entered(world, client)
    assert not world.ledger.list_users().items


def test_a_state_counts_once_and_in_its_own_browser_alone(world: World, issuer: Issuer) -> None:
    client, thief = world.client(), world.client()
    sent = leave(client, issuer)
    # Another's browser, without the cookie: the login of somebody else cannot be planted.
    assert back(thief, code=CODE, state=sent["state"]).status_code == 401
    assert not entered(world, thief)
    assert back(client, code=CODE, state="another").status_code == 401
    sent = leave(client, issuer)
    assert back(client, code=CODE, state=sent["state"]).status_code == 303
    world.app.test_client()
    asked = len(issuer.asked)
    assert back(client, code=CODE, state=sent["state"]).status_code == 401
    assert len(issuer.asked) == asked


def test_a_code_that_the_provider_does_not_know_gets_nobody_in(
    world: World, issuer: Issuer
) -> None:
    client = world.client()
    for query in ({"code": "stolen"}, {"error": "access_denied"}, {}):
        state = leave(client, issuer)["state"]
        assert back(client, state=state, **query).status_code == 401
        assert not entered(world, client)


def test_the_provider_cannot_vouch_somebody_into_the_name_of_another(
    world: World, issuer: Issuer
) -> None:
    world.user("grace", Role.ADMIN)
    client = world.client()
    sent = leave(client, issuer)
    assert back(client, code=CODE, state=sent["state"]).status_code == 409
    assert not entered(world, client)


def test_without_a_provider_there_is_no_such_way(tmp_path: Path) -> None:
    client = World().client()
    assert client.get("/login/with").status_code == 404
    assert client.get("/login/back").status_code == 404
    assert "/login/with" not in client.get("/login").text


def test_a_provider_that_does_not_answer_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    settings = OidcSettings(
        issuer="http://127.0.0.1:1", client_id=CLIENT, client_secret_file=tmp_path / "secret",
        url="http://localhost",
    )  # fmt: skip
    answer = World(oidc=settings).client().get("/login/with")
    assert answer.status_code == 503


def test_settings_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="https"):
        OidcSettings(
            issuer="http://login.example", client_id="x", client_secret_file=tmp_path, url="x"
        )
    with pytest.raises(ValueError, match="client_id"):
        OidcSettings(issuer="https://login.example")
    for role in ("root", "operator:Not A Project", ""):
        with pytest.raises(Invalid):
            read_roles({"group": role})
