"""Ways in that there are, and ways in that there are not: tokens, projects, limits, headers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from access_world import BY, World, bearer
from control_api import TOKEN, problem
from werkzeug.test import TestResponse

from loom.clients.accounts import read_export
from loom.control.identities import Identities
from loom.domain.access import Role
from loom.domain.account import new_token
from loom.domain.auditchain import Check
from loom.domain.bead import Amendment, NewBead
from loom.domain.project import Project
from loom.errors import NotFound
from loom.rpc.callers import digest

API = "/api/v1"


@pytest.fixture(scope="module")
def shared() -> World:
    return World()


@pytest.fixture
def world() -> World:
    return World()


# Tokens.


def test_a_token_that_nobody_issued_gets_nobody_in(shared: World) -> None:
    client = shared.client()
    for header in (
        "", "Bearer", "Bearer ", f"Bearer {new_token().text}", f"Basic {TOKEN}", TOKEN,
        f"Bearer {TOKEN}x", f"Bearer {digest(TOKEN)}", "Bearer loom__", "Bearer \x00".strip(),
        f"Bearer {'x' * 5000}", f"Bearer {TOKEN.upper()}",
    ):  # fmt: skip
        answer = client.get(f"{API}/me", headers={"Authorization": header})
        problem(answer, 401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="loom"'


def test_a_token_gets_in_until_it_is_revoked(world: World) -> None:
    token = world.token(Role.ADMIN)
    id_ = token.split("_")[1]
    assert world.client().get(f"{API}/me", headers=bearer(token)).json["login"] == id_
    revoke = f"{API}/tokens/{id_}/revoke"
    assert world.client().post(revoke, json={}, headers=bearer(token)).status_code == 200
    problem(world.client().get(f"{API}/me", headers=bearer(token)), 401, "unauthenticated")


def test_a_token_gets_in_until_it_expires(world: World) -> None:
    token = world.token(Role.VIEWER, expires_at=datetime.now(UTC) + timedelta(seconds=60))
    world.ledger.advance(61)
    problem(world.client().get(f"{API}/me", headers=bearer(token)), 401, "unauthenticated")


def test_the_secret_of_a_token_is_told_once_and_kept_nowhere(world: World) -> None:
    asked = {"name": "ci", "role": "operator", "projects": {"alpha": "admin"}, "expires_in_s": 60}
    made = world.client().post(f"{API}/tokens", json=asked, headers=bearer(TOKEN))
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    text = made.json["token"]
    assert world.client().get(f"{API}/me", headers=bearer(text)).json["projects"] == {
        "alpha": "admin"
    }
    listed = world.client().get(f"{API}/tokens", headers=bearer(TOKEN)).text
    trail = world.client().get(f"{API}/audit/export", headers=bearer(TOKEN)).text
    for kept in (listed, trail, repr(vars(world.ledger))):
        assert text not in kept
        assert text.split("_")[2] not in kept


def test_a_token_of_one_project_does_not_get_into_another(world: World) -> None:
    headers = bearer(world.token(projects={"alpha": Role.ADMIN}))
    client, other = world.client(), world.beads["beta"]
    problem(client.get(f"{API}/beads/{other}", headers=headers), 404, "not_found")
    problem(client.patch(f"{API}/projects/beta", json={}, headers=headers), 404, "not_found")
    post = f"{API}/beads/{other}/cancel"
    problem(client.post(post, json={"reason": "x"}, headers=headers), 404, "not_found")
    for project_id in ("beta", "nowhere"):
        found = client.get(f"{API}/beads?project={project_id}", headers=headers)
        assert (found.status_code, found.json["beads"]) == (200, [])
    assert world.ledger.get_bead(other).state.value == "open"


def test_what_one_may_not_see_looks_as_if_it_were_not_there(world: World) -> None:
    headers = bearer(world.token(projects={"alpha": Role.ADMIN}))
    for there, gone in (
        ("/projects/beta", "/projects/nowhere"),
        ("/projects/beta/beads", "/projects/nowhere/beads"),
        (f"/beads/{world.beads['beta']}", "/beads/bd-nowhere"),
        ("/agents/agent-beta@host", "/agents/agent-nowhere@host"),
        ("/dead-letters/2", "/dead-letters/999"),
    ):
        seen = [
            problem(world.client().get(API + path, headers=headers), 404, "not_found")
            for path in (there, gone)
        ]
        told = [json.dumps(each["detail"]) for each in seen]
        for word in ("beta", "nowhere", world.beads["beta"], "bd-nowhere", "2", "999"):
            told = [words.replace(word, "X") for words in told]
        assert told[0] == told[1].replace("bd-X", "X")


def test_lists_leave_out_what_one_may_not_see(world: World) -> None:
    world.ledger.create_project(Project("gamma", "/srv/repo.git"), "corr")
    headers = bearer(world.token(projects={"alpha": Role.VIEWER, "gamma": Role.VIEWER}))
    for path in ("projects", "beads", "agents", "dead-letters", "dead-letters/groups",
                 "events", "statistics"):  # fmt: skip
        answer = world.client().get(f"{API}/{path}", headers=headers)
        assert answer.status_code == 200, answer.text
        assert "alpha" in answer.text, path
        assert "beta" not in answer.text, path
        everything = world.client().get(f"{API}/{path}", headers=bearer(TOKEN)).text
        assert "beta" in everything, path


def test_pages_leave_out_what_one_may_not_see(world: World) -> None:
    headers = bearer(world.token(projects={"alpha": Role.ADMIN})) | {"Accept": "text/html"}
    pages = [
        rule.rule
        for rule in world.app.url_map.iter_rules()
        if not rule.arguments
        and "GET" in (rule.methods or ())
        and not rule.rule.startswith(("/api/", "/login", "/healthz", "/readyz"))
    ]
    assert {"/", "/beads"} <= set(pages)
    for page in pages:
        answer = world.client().get(page, headers=headers)
        # 403: it is for those who see every project.
        assert answer.status_code in (200, 403), page
        assert "beta" not in answer.text, page


def test_tricks_with_the_address_lead_nowhere(shared: World) -> None:
    headers = bearer(shared.token(projects={"alpha": Role.ADMIN}))
    for path in (
        "/api/v1/projects/alpha/../beta", "/api/v1/projects/beta%00", "/api/v1//projects/beta",
        "/api/v1/projects/alpha%2f..%2fbeta", "/API/v1/users", "/api/v1/users/", "//api/v1/users",
        "/healthz/../api/v1/users", "/healthz;/api/v1/users", "/static/x/../../../../etc/passwd",
        "/static/x/..%2f..%2fapp.py", "/login/../api/v1/users", "/api/v1/projects/BETA",
    ):  # fmt: skip
        answer = shared.client().get(path, headers=headers)
        assert answer.status_code in (403, 404), f"{path}: {answer.status_code}"
        assert "repository" not in answer.text
    # Another method, told by a header, is no other method.
    trick = headers | {"X-HTTP-Method-Override": "DELETE", "X-Original-URL": "/healthz"}
    assert shared.client().get(f"{API}/users", headers=trick).status_code == 403


def test_a_known_identity_is_asked_for_again_after_a_few_seconds() -> None:
    world, now = World(), [0.0]
    token = world.token(Role.VIEWER)
    known = Identities(world.ledger, digest(TOKEN), kept_s=5, clock=lambda: now[0])
    assert known.of_token(token).principal.role is Role.VIEWER
    world.ledger.revoke_token(token.split("_")[1], BY)
    now[0] = 4.9
    known.of_token(token)
    now[0] = 5.1
    with pytest.raises(NotFound):
        known.of_token(token)


# Who did it.


def test_the_trail_tells_who_did_what(world: World) -> None:
    headers = bearer(world.token(Role.OPERATOR))
    cancel = f"{API}/beads/{world.beads['alpha']}/cancel"
    assert world.client().post(cancel, json={"reason": "x"}, headers=headers).status_code == 200
    line = world.client().get(f"{API}/audit", headers=bearer(TOKEN)).json["lines"][0]
    assert line["action"] == "bead.cancel"
    assert line["actor"].startswith("token:ci/")


def test_two_tokens_do_not_share_an_idempotency_key(world: World) -> None:
    post, key = f"{API}/projects/alpha/beads", {"Idempotency-Key": "k"}
    made = [
        world.client().post(post, json={"title": "x"}, headers=bearer(token) | key)
        for token in (world.token(Role.ADMIN), world.token(Role.ADMIN))
    ]
    assert made[0].json["id"] != made[1].json["id"]


def test_an_export_can_be_verified_by_itself_and_shows_what_was_changed(world: World) -> None:
    for name in ("a", "b", "c"):
        world.user(name)
    export = world.client().get(f"{API}/audit/export", headers=bearer(TOKEN))
    lines = export.text.splitlines()
    assert len(lines) >= 3
    check = Check()
    assert check.take(read_export(iter(lines)))
    told = world.client().get(f"{API}/audit/verify", headers=bearer(TOKEN)).json
    assert told["head"] == {"place": check.head.place, "hash": check.head.hash}
    assert told["broken"] is None
    forged = json.loads(lines[1]) | {"actor": "nobody"}
    for tampered, why in (
        ([lines[0], json.dumps(forged), *lines[2:]], "something else"),
        ([lines[0], *lines[2:]], "is missing"),
        ([lines[0], lines[2], lines[1]], "is missing"),
    ):
        broken = Check()
        assert not broken.take(read_export(iter(tampered)))
        assert broken.end().broken == 2
        assert why in broken.end().why


# Limits.


def test_a_token_may_ask_for_so_much_and_others_are_not_slowed() -> None:
    world = World(settings={"requests_per_minute": 3})
    first, second = world.token(Role.VIEWER), world.token(Role.VIEWER)
    for _ in range(3):
        assert world.client().get(f"{API}/me", headers=bearer(first)).status_code == 200
    refused = world.client().get(f"{API}/me", headers=bearer(first))
    problem(refused, 429, "exhausted")
    assert 1 <= int(refused.headers["Retry-After"]) <= 61
    assert world.client().get(f"{API}/me", headers=bearer(second)).status_code == 200
    for _ in range(5):
        assert world.client().get("/healthz", headers=bearer(first)).status_code == 200


def test_guessing_tokens_is_slowed_down() -> None:
    world = World()
    answers = [
        world.client().get(f"{API}/me", headers=bearer(new_token().text)).status_code
        for _ in range(125)
    ]
    assert answers[:120] == [401] * 120
    assert answers[120:] == [429] * 5
    assert world.client().get(f"{API}/me", headers=bearer(TOKEN)).status_code == 200


# Headers.


def test_every_answer_tells_browsers_to_load_and_run_nothing_foreign(shared: World) -> None:
    for path, headers in (
        ("/healthz", {}), ("/login", {}), (f"{API}/me", {}), (f"{API}/me", bearer(TOKEN)),
        ("/nowhere", bearer(TOKEN)), ("/api/docs", {}), ("/", {"Accept": "text/html"}),
    ):  # fmt: skip
        answer = shared.client().get(path, headers=headers)
        policy = answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy, path
        assert "unsafe" not in policy
        assert "default-src 'self'" in policy or "default-src 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] in ("same-origin", "no-referrer")
        assert "Strict-Transport-Security" not in answer.headers


def test_beads_are_linked_with_such_alone_as_may_be_seen(world: World) -> None:
    mine, hidden = world.beads["alpha"], world.beads["beta"]
    client = world.client()
    headers = bearer(world.token(projects={"alpha": Role.OPERATOR}))
    beads = "/api/v1/projects/alpha/beads"

    def filed(**links: object) -> TestResponse:
        return client.post(beads, json={"title": "x", **links}, headers=headers)

    def edited(**links: object) -> TestResponse:
        return client.patch(f"/api/v1/beads/{mine}", json={"version": 1, **links}, headers=headers)

    for asked in (filed, edited):
        for links in ({"blocked_by": [hidden]}, {"parent": hidden}):
            answer = asked(**links)
            assert answer.status_code == 422, answer.text
            nobody = json.loads(json.dumps(links).replace(hidden, "bd-nobody"))
            # Nothing tells one that is hidden from one that is not there.
            assert asked(**nobody).json["detail"] == answer.json["detail"].replace(
                hidden, "bd-nobody"
            )
    linked = client.put(f"/api/v1/beads/{mine}/blocked-by/{hidden}", headers=headers)
    assert (linked.status_code, linked.json["detail"]) == (404, f"there is no bead {hidden}")

    assert filed(blocked_by=[mine]).status_code == 202
    both = [{"title": "x", "id": "first"}, {"title": "y", "blocked_by": ["first"]}]
    assert client.post(beads, json=both, headers=headers).status_code == 202


def test_a_link_that_is_there_may_stay_though_it_may_not_be_seen(world: World) -> None:
    mine, hidden = world.beads["alpha"], world.beads["beta"]
    world.ledger.amend_bead(mine, Amendment(blocked_by=(hidden,)))
    other = world.ledger.create_beads("alpha", [NewBead("z")], "corr").items[0].id
    headers = bearer(world.token(projects={"alpha": Role.OPERATOR}))

    answer = world.client().patch(
        f"/api/v1/beads/{mine}", json={"version": 2, "blocked_by": [hidden, other]}, headers=headers
    )

    assert answer.status_code == 200, answer.text


def test_who_made_a_project_stands_in_the_audit(world: World) -> None:
    headers = bearer(world.token(Role.ADMIN))
    new = {"id": "gamma", "repository": "/srv/g.git"}

    assert world.client().post("/api/v1/projects", json=new, headers=headers).status_code == 201

    (line,) = world.ledger.list_audit("gamma").items
    assert line.actor.startswith("token:ci/")
    assert line.action == "project.create"
    assert line.detail == {"name": "gamma", "repository": "/srv/g.git"}
