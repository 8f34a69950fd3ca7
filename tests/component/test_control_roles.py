"""Every role on every route. The table is written by hand: a declaration that is loosened fails."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from access_world import BY, World, bearer
from control_api import TOKEN
from flask import Flask

from loom.control.operation import of, operation
from loom.domain.access import Role
from loom.domain.account import NewSession
from loom.rpc.callers import digest

V, O, A = Role.VIEWER, Role.OPERATOR, Role.ADMIN  # noqa: E741
OPEN, SELF, SOME, ALL, HERE = "open", "self", "some", "all", "here"

API = "/api/v1"
BEAD, PROJECT = f"{API}/beads/<bead_id>", f"{API}/projects/<project_id>"
LETTER = f"{API}/dead-letters/<int:letter_id>"
GROUP = f"{API}/dead-letters/groups/<fingerprint>"
USER = f"{API}/users/<user_name>"
HOOK = f"{API}/webhooks/<webhook_id>"

LEAST: dict[tuple[str, str], tuple[Role | None, str]] = {
    ("GET", "/"): (V, SOME),
    ("GET", "/healthz"): (None, OPEN),
    ("GET", "/readyz"): (None, OPEN),
    ("GET", "/login"): (None, OPEN),
    ("POST", "/login"): (None, OPEN),
    ("GET", "/login/with"): (None, OPEN),
    ("GET", "/login/back"): (None, OPEN),
    ("POST", "/logout"): (None, SELF),
    ("GET", "/static/<stamp>/<path:name>"): (None, OPEN),
    ("GET", "/api/docs"): (None, OPEN),
    ("GET", "/api/docs/<name>"): (None, OPEN),
    ("GET", f"{API}/openapi.json"): (None, OPEN),
    ("GET", f"{API}/me"): (None, SELF),
    ("POST", f"{API}/me/password"): (None, SELF),
    ("GET", f"{API}/sessions"): (None, SELF),
    ("DELETE", f"{API}/sessions/<session_id>"): (None, SELF),
    ("GET", f"{API}/users"): (A, ALL),
    ("POST", f"{API}/users"): (A, ALL),
    ("GET", USER): (A, ALL),
    ("POST", f"{USER}/grant"): (A, ALL),
    ("POST", f"{USER}/revoke"): (A, ALL),
    ("POST", f"{USER}/<any(enable, disable):act>"): (A, ALL),
    ("POST", f"{USER}/reset-password"): (A, ALL),
    ("GET", f"{API}/tokens"): (A, ALL),
    ("POST", f"{API}/tokens"): (A, ALL),
    ("POST", f"{API}/tokens/<token_id>/revoke"): (A, ALL),
    ("GET", f"{API}/audit"): (V, ALL),
    ("GET", f"{API}/audit/export"): (A, ALL),
    ("GET", f"{API}/audit/verify"): (A, ALL),
    ("GET", f"{API}/projects"): (V, SOME),
    ("POST", f"{API}/projects"): (A, ALL),
    ("GET", PROJECT): (V, HERE),
    ("PATCH", PROJECT): (A, HERE),
    ("GET", f"{PROJECT}/beads"): (V, HERE),
    ("POST", f"{PROJECT}/beads"): (O, HERE),
    ("GET", f"{PROJECT}/dead-letters"): (V, HERE),
    ("GET", f"{PROJECT}/comments"): (V, HERE),
    ("POST", f"{PROJECT}/comments"): (O, HERE),
    ("PATCH", f"{PROJECT}/comments/<comment_id>"): (O, HERE),
    ("DELETE", f"{PROJECT}/comments/<comment_id>"): (O, HERE),
    ("GET", f"{API}/beads"): (V, SOME),
    ("GET", BEAD): (V, HERE),
    ("PATCH", BEAD): (O, HERE),
    ("GET", f"{BEAD}/why"): (V, HERE),
    ("GET", f"{BEAD}/attempts"): (V, HERE),
    ("GET", f"{BEAD}/artifacts"): (V, HERE),
    ("GET", f"{BEAD}/attempts/<int:epoch>/artifacts/<path:name>"): (V, HERE),
    ("GET", f"{BEAD}/log"): (V, HERE),
    ("GET", f"{BEAD}/log/stream"): (V, HERE),
    ("GET", f"{BEAD}/comments"): (V, HERE),
    ("POST", f"{BEAD}/comments"): (O, HERE),
    ("PATCH", f"{BEAD}/comments/<comment_id>"): (O, HERE),
    ("DELETE", f"{BEAD}/comments/<comment_id>"): (O, HERE),
    ("POST", f"{BEAD}/cancel"): (O, HERE),
    ("POST", f"{BEAD}/retry"): (O, HERE),
    ("POST", f"{BEAD}/unblock"): (O, HERE),
    ("GET", f"{API}/agents"): (V, SOME),
    ("GET", f"{API}/agents/<name>"): (V, HERE),
    ("POST", f"{API}/agents/<name>/<any(drain, resume, stop):act>"): (O, HERE),
    ("GET", f"{API}/dead-letters"): (V, SOME),
    ("GET", f"{API}/dead-letters/groups"): (V, SOME),
    ("GET", f"{API}/dead-letters/replays"): (V, ALL),
    ("GET", LETTER): (V, HERE),
    ("POST", f"{LETTER}/replay"): (O, HERE),
    ("POST", f"{LETTER}/discard"): (O, HERE),
    ("POST", f"{GROUP}/replay"): (O, HERE),
    ("POST", f"{GROUP}/discard"): (O, HERE),
    ("POST", f"{API}/reconcile"): (O, ALL),
    ("GET", f"{API}/events"): (V, SOME),
    ("GET", f"{API}/events/stream"): (V, SOME),
    ("GET", f"{API}/webhooks"): (A, ALL),
    ("POST", f"{API}/webhooks"): (A, ALL),
    ("GET", HOOK): (A, ALL),
    ("PATCH", HOOK): (A, ALL),
    ("DELETE", HOOK): (A, ALL),
    ("POST", f"{HOOK}/test"): (A, ALL),
    ("GET", f"{HOOK}/deliveries"): (A, ALL),
    ("GET", f"{HOOK}/deliveries/<int:delivery_id>"): (A, ALL),
    ("POST", f"{HOOK}/deliveries/<any(redeliver, discard):act>"): (A, ALL),
    ("POST", f"{HOOK}/deliveries/<int:delivery_id>/<any(redeliver,discard):act>"): (A, ALL),
    ("GET", f"{API}/statistics"): (V, SOME),
    ("GET", f"{API}/status"): (V, SOME),
    ("GET", f"{API}/broker"): (V, SOME),
    ("POST", f"{API}/beads/bulk"): (O, SOME),
    ("POST", f"{BEAD}/claim"): (O, HERE),
    ("POST", f"{BEAD}/release"): (O, HERE),
    ("PUT", f"{BEAD}/blocked-by/<blocker_id>"): (O, HERE),
    ("DELETE", f"{BEAD}/blocked-by/<blocker_id>"): (O, HERE),
    ("GET", f"{BEAD}/attempts/<int:epoch>"): (V, HERE),
    ("GET", f"{BEAD}/origin"): (V, HERE),
    ("GET", f"{PROJECT}/export"): (V, HERE),
    ("POST", f"{PROJECT}/import"): (O, HERE),
    ("POST", f"{PROJECT}/<any(pause, drain, resume):act>"): (O, HERE),
    ("POST", f"{PROJECT}/<any(close, reopen):act>"): (A, HERE),
    ("GET", "/beads"): (V, SOME),
    ("GET", "/beads/<bead_id>"): (V, HERE),
    ("GET", "/beads/<bead_id>/artifacts"): (V, HERE),
    ("GET", "/beads/<bead_id>/changes"): (V, HERE),
    ("GET", "/beads/<bead_id>/comments"): (V, HERE),
    ("GET", "/beads/<bead_id>/log"): (V, HERE),
    ("GET", "/agents"): (V, SOME),
    ("GET", "/agents/<name>"): (V, HERE),
    ("GET", "/beads/new"): (O, SOME),
    ("GET", "/projects"): (V, SOME),
    ("GET", "/queues"): (V, SOME),
    ("GET", "/services"): (V, SOME),
    ("GET", "/events"): (V, SOME),
    ("GET", "/events/webhooks"): (A, ALL),
    ("GET", "/events/webhooks/<webhook_id>"): (A, ALL),
    ("GET", "/audit"): (V, ALL),
    ("GET", "/access"): (A, ALL),
    ("GET", "/me"): (None, SELF),
    ("GET", "/dead-letters"): (V, SOME),
    ("GET", "/dead-letters/<int:letter_id>"): (V, HERE),
    ("GET", "/dead-letters/groups/<fingerprint>"): (V, HERE),
    ("GET", "/projects/new"): (A, ALL),
    ("GET", "/projects/<project_id>"): (V, HERE),
}
"""The least role for each route, and where: in every project, in some, or in the one it names."""

PLACES = {
    "project_id": "alpha", "letter_id": "1", "fingerprint": "fp-alpha", "name": "agent-alpha@host",
}  # fmt: skip
KINDS = ("everywhere", "here", "elsewhere")
LET_IN = 299


def opened(app: Flask) -> None:
    """Every view of the app says only that it was reached."""
    for endpoint, view in list(app.view_functions.items()):

        @functools.wraps(view)
        def reached(*_: Any, **__: Any) -> tuple[str, int]:
            return "", LET_IN

        app.view_functions[endpoint] = reached


@pytest.fixture(scope="module")
def world() -> World:
    made = World()
    opened(made.app)
    return made


@pytest.fixture(scope="module")
def tokens(world: World) -> dict[tuple[str, Role], str]:
    found = {}
    for role in Role:
        found["everywhere", role] = world.token(role)
        found["here", role] = world.token(projects={"alpha": role})
        found["elsewhere", role] = world.token(projects={"beta": role})
    return found


def address(world: World, rule: str) -> str:
    """An address of the route, within project alpha."""
    parts = []
    for part in rule.split("/"):
        name = part.strip("<>").rpartition(":")[2]
        if not part.startswith("<"):
            parts.append(part)
        elif part.startswith("<any("):
            parts.append(part[5:].partition(",")[0].partition(")")[0])
        elif name == "bead_id":
            parts.append(world.beads["alpha"])
        else:
            parts.append(PLACES.get(name, "1"))
    return "/".join(parts)


def expected(least: Role | None, where: str, kind: str, role: Role) -> int:
    if where in (OPEN, SELF) or least is None:
        return LET_IN
    enough = role.covers(least)
    if kind == "everywhere" or where == SOME:
        return LET_IN if enough else 403
    if where == ALL:
        return 403
    if kind == "elsewhere":
        return 404
    return LET_IN if enough else 403


def test_every_route_has_a_line_in_the_table(world: World) -> None:
    there = {
        (method, rule.rule)
        for rule in world.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert there == set(LEAST), "write the least role of each route into LEAST, by hand"


@pytest.mark.parametrize(("method", "rule"), sorted(LEAST))
def test_every_role_gets_as_far_as_it_should(
    world: World, tokens: dict[tuple[str, Role], str], method: str, rule: str
) -> None:
    least, where = LEAST[method, rule]
    path, client = address(world, rule), world.client()
    for (kind, role), token in tokens.items():
        answer = client.open(path, method=method, headers=bearer(token))
        wanted = expected(least, where, kind, role)
        assert answer.status_code == wanted, f"{role} {kind}: {answer.text}"
    nobody = client.open(path, method=method)
    assert nobody.status_code == (LET_IN if where == OPEN else 401)
    if where != OPEN:
        # The stack's own token goes on as it did.
        assert client.open(path, method=method, headers=bearer(TOKEN)).status_code == LET_IN


def test_a_route_that_declares_nothing_is_closed_to_everybody() -> None:
    world = World()
    world.app.add_url_rule("/forgotten", "forgotten", lambda: "all of it")
    for headers in (bearer(TOKEN), {}):
        answer = world.client().get("/forgotten", headers=headers)
        assert answer.status_code == (403 if headers else 401)
        assert "all of it" not in answer.text


def test_somebody_without_a_role_sees_nothing_but_who_they_are(world: World) -> None:
    world.user("newcomer")
    client = world.client()
    secret = new_session(world, "newcomer")
    client.set_cookie("loom_session", secret)
    for (method, rule), (_, where) in sorted(LEAST.items()):
        if method == "GET" and where not in (OPEN, SELF):
            status = client.get(address(world, rule)).status_code
            assert status == (404 if where == HERE else 403), rule
    assert client.get(f"{API}/me").status_code == LET_IN


def new_session(world: World, name: str) -> str:
    secret = f"secret of {name}"
    new = NewSession(f"s-{name}", name, digest(secret), "password", "::1", "test", 60, 60)
    world.ledger.open_session(new, BY)
    return secret


def test_the_declaration_is_what_the_door_goes_by() -> None:
    world = World()

    @operation("Nothing", needs=Role.ADMIN)
    def view() -> str:
        return "reached"

    world.app.add_url_rule("/new", "new", view)
    assert of(world.app.view_functions["new"]) is not None
    token = world.token(Role.OPERATOR)
    assert world.client().get("/new", headers=bearer(token)).status_code == 403
