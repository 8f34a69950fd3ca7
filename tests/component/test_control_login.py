"""Logging in and out: passwords, sessions, cookies, and who tries to get in without."""

from __future__ import annotations

import logging

import pytest
from access_world import PASSWORD, World, bearer
from argon2 import PasswordHasher
from control_api import TOKEN, problem

from loom.control import csrf
from loom.control.login import safe_target
from loom.control.passwords import Passwords
from loom.domain.access import Role
from loom.errors import Invalid

API = "/api/v1"
HTML = {"Accept": "text/html"}


@pytest.fixture
def world() -> World:
    made = World()
    made.user("grace", Role.ADMIN)
    return made


def actions(world: World) -> list[tuple[str, str, str]]:
    lines, _ = world.ledger.read_audit()
    return [(each.line.actor, each.line.action, each.line.target) for each in lines]


def test_a_person_logs_in_with_a_password_and_out_again(world: World) -> None:
    client = world.client()
    answer = world.login(client, next="/beads?state=open")
    assert (answer.status_code, answer.location) == (303, "/beads?state=open")
    assert client.get(f"{API}/me").json["user"] == "grace"
    secret = world.secret(client)
    out = client.post("/logout", data={"csrf_token": csrf.token(secret)})
    assert (out.status_code, out.location) == (303, "/login")
    assert world.secret(client) == ""
    client.set_cookie("loom_session", secret)
    problem(client.get(f"{API}/me"), 401, "unauthenticated")
    assert [what for _, what, _ in actions(world)][-2:] == ["session.open", "session.end"]


def test_the_cookie_is_for_browsers_alone_and_says_nothing(world: World) -> None:
    answer = world.login(world.client())
    (cookie,) = [c for c in answer.headers.getlist("Set-Cookie") if c.startswith("loom_session")]
    for part in ("HttpOnly", "SameSite=Lax", "Path=/"):
        assert part in cookie
    assert "Secure" not in cookie
    assert "Domain" not in cookie
    assert "grace" not in cookie


def test_over_https_the_cookie_goes_by_that_alone() -> None:
    world = World(settings={"https": True})
    world.user()
    answer = world.login(world.client())
    (cookie,) = [c for c in answer.headers.getlist("Set-Cookie") if "loom_session" in c]
    assert cookie.startswith("__Host-loom_session=")
    assert "Secure" in cookie
    assert "max-age=31536000" in answer.headers["Strict-Transport-Security"]


def test_a_wrong_password_and_an_unknown_name_are_answered_alike(world: World) -> None:
    wrong = world.login(world.client(), password="not the password")
    unknown = world.login(world.client(), name="nobody")
    assert (wrong.status_code, unknown.status_code) == (401, 401)
    for answer in (wrong, unknown):
        assert "do not belong together" in answer.text
        assert "loom_session" not in str(answer.headers)
    # What was typed as a name may have been a password.
    assert actions(world)[-2:] == [
        ("somebody", "login.refuse", "grace"), ("somebody", "login.refuse", ""),
    ]  # fmt: skip


def test_a_name_that_nobody_has_costs_as_much_as_a_wrong_password() -> None:
    compared: list[str] = []

    class Counting(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:
            compared.append(str(hash))
            return super().verify(hash, password)

    passwords = Passwords(Counting(time_cost=1, memory_cost=8, parallelism=1))
    assert not passwords.match("x", "")
    assert not passwords.match("x", passwords.hash("another password"))
    assert len(compared) == 2
    assert compared[0].split("$")[:4] == compared[1].split("$")[:4]


def test_guessing_a_password_is_slowed_down_also_for_who_knows_it(world: World) -> None:
    client = world.client()
    statuses = [world.login(client, password=f"guess number {n}").status_code for n in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    refused = world.login(client)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    # From elsewhere, by another name or by a token, others go on.
    world.user("ada")
    assert world.login(world.client(), "ada").status_code == 303
    assert client.get(f"{API}/me", headers=bearer(TOKEN)).status_code == 200


def test_who_gets_in_has_all_their_tries_again(world: World) -> None:
    client = world.client()
    for _ in range(2):
        for n in range(4):
            assert world.login(client, password=f"guess number {n}").status_code == 401
        assert world.login(client).status_code == 303


def test_a_login_that_does_not_come_from_our_form_is_refused(world: World) -> None:
    client = world.client()
    data = {"name": "grace", "password": PASSWORD}
    assert client.post("/login", data=data).status_code == 400
    client.get("/login")
    assert client.post("/login", data=data).status_code == 403
    assert client.post("/login", data=data | {"csrf_token": "0" * 64}).status_code == 403
    assert world.secret(client) == ""


def test_a_cookie_that_was_planted_before_the_login_gets_nobody_in(world: World) -> None:
    client = world.client()
    client.set_cookie("loom_session", "planted")
    world.login(client)
    assert world.secret(client) != "planted"
    thief = world.client()
    thief.set_cookie("loom_session", "planted")
    problem(thief.get(f"{API}/me"), 401, "unauthenticated")


def test_a_cookie_that_was_changed_gets_nobody_in(world: World) -> None:
    client = world.client()
    world.login(client)
    secret = world.secret(client)
    for other in (secret[:-1], secret + "x", secret.swapcase(), "", "x" * 5_000):
        client.set_cookie("loom_session", other)
        problem(client.get(f"{API}/me"), 401, "unauthenticated")


def test_a_login_ends_when_it_lies_unused(world: World) -> None:
    client = world.client()
    world.login(client)
    world.ledger.advance(12 * 3_600 + 1)
    problem(client.get(f"{API}/me"), 401, "unauthenticated")


def test_an_unsafe_request_by_a_login_needs_what_our_pages_show(world: World) -> None:
    client = world.client()
    world.login(client)
    token = {"X-CSRF-Token": csrf.token(world.secret(client))}
    post = f"{API}/beads/{world.beads['alpha']}/cancel"
    body = {"reason": "x"}
    other = World()
    other.user()
    browser = other.client()
    other.login(browser)
    for headers in (
        {},
        {"X-CSRF-Token": ""},
        {"X-CSRF-Token": csrf.token(other.secret(browser))},
        token | {"Origin": "https://evil.example"},
        token | {"Origin": "null"},
        token | {"Sec-Fetch-Site": "cross-site"},
        token | {"Sec-Fetch-Site": "same-site"},
    ):
        problem(client.post(post, json=body, headers=headers), 403, "forbidden")
    assert world.ledger.get_bead(world.beads["alpha"]).state.value == "open"
    ours = token | {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}
    assert client.post(post, json=body, headers=ours).status_code == 200
    # A program shows a token, which no browser sends by itself.
    assert client.get(f"{API}/me").status_code == 200
    second = f"{API}/beads/{world.beads['beta']}/cancel"
    assert client.post(second, json=body, headers=bearer(TOKEN)).status_code == 200


def test_the_trail_tells_the_name_of_who_was_logged_in(world: World) -> None:
    client = world.client()
    world.login(client)
    headers = {"X-CSRF-Token": csrf.token(world.secret(client))}
    path = f"{API}/beads/{world.beads['alpha']}/cancel"
    client.post(path, json={"reason": "x"}, headers=headers)
    assert actions(world)[-1] == ("grace", "bead.cancel", world.beads["alpha"])


def test_another_password_ends_every_login(world: World) -> None:
    client, second = world.client(), world.client()
    world.login(client)
    world.login(second)
    headers = {"X-CSRF-Token": csrf.token(world.secret(client))}
    path, new = f"{API}/me/password", "another long password"
    wrong = client.post(path, json={"current": "wrong", "new": new}, headers=headers)
    problem(wrong, 422, "invalid")
    short = client.post(path, json={"current": PASSWORD, "new": "short"}, headers=headers)
    problem(short, 422, "invalid")
    changed = client.post(path, json={"current": PASSWORD, "new": new}, headers=headers)
    assert changed.status_code == 204
    for browser in (client, second):
        problem(browser.get(f"{API}/me"), 401, "unauthenticated")
    assert world.login(client).status_code == 401
    assert world.login(client, password=new).status_code == 303


def test_who_is_disabled_is_out_at_once(world: World) -> None:
    client = world.client()
    world.login(client)
    disable = f"{API}/users/grace/disable"
    assert client.get(f"{API}/me").status_code == 200
    done = world.client().post(disable, json={"reason": "left"}, headers=bearer(TOKEN))
    assert done.json["disabled"]
    problem(client.get(f"{API}/me"), 401, "unauthenticated")
    assert world.login(client).status_code == 401


def test_one_sees_and_ends_ones_own_logins_and_an_admin_those_of_others(world: World) -> None:
    world.user("ada", Role.VIEWER)
    admin, viewer = world.client(), world.client()
    world.login(admin)
    world.login(viewer, "ada")
    theirs = admin.get(f"{API}/sessions").json["sessions"]
    assert [each["user"] for each in theirs] == ["grace"]
    everybodys = admin.get(f"{API}/sessions?user=*").json["sessions"]
    assert {each["user"] for each in everybodys} == {"grace", "ada"}
    problem(viewer.get(f"{API}/sessions?user=*"), 403, "forbidden")
    problem(viewer.get(f"{API}/sessions?user=grace"), 403, "forbidden")
    token = {"X-CSRF-Token": csrf.token(world.secret(viewer))}
    other = f"{API}/sessions/{theirs[0]['id']}"
    problem(viewer.delete(other, headers=token), 404, "not_found")
    own = viewer.get(f"{API}/sessions").json["sessions"][0]["links"]["self"]
    assert viewer.delete(own, headers=token).status_code == 200
    problem(viewer.get(f"{API}/me"), 401, "unauthenticated")


def test_an_old_hash_is_made_anew_at_the_next_login(world: World) -> None:
    before, _ = world.ledger.get_login("grace")
    stronger = World(world.ledger.__class__(), hasher=PasswordHasher(2, 16, 1))
    stronger.user()
    client = stronger.client()
    stronger.login(client)
    after, _ = stronger.ledger.get_login("grace")
    assert "m=8,t=1" in before
    assert "m=16,t=2" in after
    assert stronger.login(stronger.client()).status_code == 303


def test_a_person_who_is_not_known_is_sent_to_the_login_and_back(world: World) -> None:
    answer = world.client().get("/beads?state=open", headers=HTML)
    assert (answer.status_code, answer.location) == (302, "/login?next=/beads?state%3Dopen")
    assert world.client().post("/logout", headers=HTML).status_code == 401


@pytest.mark.parametrize(
    "target",
    ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "",
     "/x\r\nSet-Cookie: a=b", "\t/x", "/\t/evil.example", "evil"],
)  # fmt: skip
def test_nobody_is_sent_elsewhere_after_the_login(target: str) -> None:
    assert safe_target(target) == "/"


def test_a_password_has_to_be_long() -> None:
    for password in ("short", "x" * 1_001):
        with pytest.raises(Invalid):
            Passwords().hash(password)


def test_no_secret_is_logged(
    world: World, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    client = world.client()
    world.login(client, password="a wrong password")
    world.login(client, name=PASSWORD)
    world.login(client)
    token = world.token(Role.ADMIN)
    client.get(f"{API}/me", headers=bearer(token))
    made = client.post(f"{API}/users", json={"name": "eve"}, headers=bearer(token)).json["password"]
    out = capsys.readouterr()
    said = caplog.text + out.out + out.err
    assert "logged_in" in said
    assert "user=grace" in said
    for secret in (PASSWORD, "a wrong password", world.secret(client), token, made):
        assert secret not in said
    assert secret not in world.client().get(f"{API}/audit/export", headers=bearer(TOKEN)).text
