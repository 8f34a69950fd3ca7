"""Who may do what: one suite for the ledger in memory and the real one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from test_ledger_contract import World, real, world

from loom.domain.access import Principal, Role
from loom.domain.account import NewSession, NewToken, User
from loom.domain.audit import Intervention
from loom.domain.auditchain import Check
from loom.errors import Conflict, Invalid, NotFound, Stale

__all__ = ["real", "world"]

BY = Intervention("ada", "she asked for it", "corr")
GRACE = User("grace", Role.VIEWER)
HASH = "$argon2id$a hash"
A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def session(user: str = "grace", sha256: str = A, **other: Any) -> NewSession:
    words = {"method": "password", "address": "::1", "agent": "curl", "life_s": 600, "idle_s": 60}
    return NewSession(f"s-{sha256[0]}", user, sha256, **words | other)


def token(sha256: str = B, **other: Any) -> NewToken:
    return NewToken(sha256[:12], "ci", sha256, **{"role": Role.OPERATOR} | other)


def actions(world: World) -> list[tuple[str, str, str]]:
    lines, _ = world.control.read_audit()
    return [(each.line.actor, each.line.action, each.line.target) for each in lines]


# People.


def test_a_user_is_who_was_made(world: World) -> None:
    world.project()
    made = world.control.create_user(replace(GRACE, projects={"alpha": Role.ADMIN}), HASH, BY)
    assert (made.role, made.projects, made.has_password) == (
        Role.VIEWER, {"alpha": Role.ADMIN}, True,
    )  # fmt: skip
    assert world.control.get_user("grace") == made
    assert world.control.get_login("grace") == (HASH, True)
    assert ("ada", "user.create", "grace") in actions(world)


def test_nobody_takes_the_name_of_another_or_of_a_service(world: World) -> None:
    world.control.create_user(GRACE, HASH, BY)
    with pytest.raises(Conflict):
        world.control.create_user(GRACE, HASH, BY)
    for name in ("operator", "agent-alpha", "token:ci/1", "Grace", "", "a" * 65, "x\0"):
        with pytest.raises(Invalid):
            world.control.create_user(User(name), HASH, BY)


def test_users_are_listed_in_the_order_of_their_names(world: World) -> None:
    for name in ("b", "c", "a-1", "a"):
        world.control.create_user(User(name), "", BY)
    first = world.control.list_users(page_size=3)
    rest = world.control.list_users(page_size=3, cursor=first.next_cursor)
    assert [user.name for user in (*first.items, *rest.items)] == ["a", "a-1", "b", "c"]
    assert not rest.next_cursor


def test_roles_are_given_and_taken_in_a_project_and_in_all(world: World) -> None:
    world.project()
    world.control.create_user(GRACE, HASH, BY)
    world.control.grant_role("grace", "alpha", Role.OPERATOR, BY)
    given = world.control.grant_role("grace", "", Role.ADMIN, BY)
    assert (given.role, given.projects) == (Role.ADMIN, {"alpha": Role.OPERATOR})
    world.control.grant_role("grace", "alpha", None, BY)
    left = world.control.grant_role("grace", "", None, BY)
    assert (left.role, left.projects) == (None, {})
    assert [what for _, what, _ in actions(world)][-4:] == [
        "user.grant", "user.grant", "user.revoke", "user.revoke",
    ]  # fmt: skip
    with pytest.raises(NotFound):
        world.control.grant_role("grace", "nowhere", Role.VIEWER, BY)
    with pytest.raises(NotFound):
        world.control.grant_role("nobody", "", Role.VIEWER, BY)


def test_a_role_that_somebody_has_already_is_not_noted_again(world: World) -> None:
    world.control.create_user(GRACE, HASH, BY)
    world.control.grant_role("grace", "", Role.VIEWER, BY)
    assert [what for _, what, _ in actions(world)] == ["user.create"]


def test_an_unknown_user_has_nothing_to_compare_a_password_with(world: World) -> None:
    assert world.control.get_login("nobody") == ("", False)


def test_another_password_ends_the_sessions(world: World) -> None:
    world.control.create_user(GRACE, HASH, BY)
    world.control.open_session(session(), BY)
    world.control.set_password("grace", "another", BY)
    assert world.control.get_login("grace") == ("another", True)
    with pytest.raises(NotFound):
        world.control.get_identity(session_sha256=A)
    assert world.control.list_sessions().items == ()


def test_the_same_password_hashed_anew_ends_nothing(world: World) -> None:
    world.control.create_user(GRACE, HASH, BY)
    world.control.open_session(session(), BY)
    world.control.set_password("grace", "harder", BY, rehashes=HASH)
    assert world.control.get_identity(session_sha256=A).user == "grace"
    assert "user.password" not in {what for _, what, _ in actions(world)}
    with pytest.raises(Stale):
        world.control.set_password("grace", "late", BY, rehashes=HASH)


def test_who_is_disabled_is_out_at_once_and_stays_out(world: World) -> None:
    world.control.create_user(GRACE, HASH, BY)
    world.control.open_session(session(), BY)
    assert world.control.enable_user("grace", BY, enabled=False).disabled
    with pytest.raises(NotFound):
        world.control.get_identity(session_sha256=A)
    assert world.control.get_login("grace") == ("", True)
    with pytest.raises(Invalid):
        world.control.open_session(session(sha256=C), BY)
    world.control.enable_user("grace", BY, enabled=True)
    with pytest.raises(NotFound):
        world.control.get_identity(session_sha256=A)
    assert world.control.get_login("grace") == (HASH, True)


def test_whom_an_issuer_vouches_for_is_made_once_and_has_the_roles_it_says(world: World) -> None:
    world.project()
    eve = User("eve@example.org", Role.VIEWER, subject="https://issuer 17")
    world.control.admit_user(eve, BY, decides_roles=True)
    changed = replace(eve, role=None, projects={"alpha": Role.OPERATOR})
    assert world.control.admit_user(changed, BY, decides_roles=False).role is Role.VIEWER
    after = world.control.admit_user(changed, BY, decides_roles=True)
    assert (after.role, after.projects) == (None, {"alpha": Role.OPERATOR})
    assert not after.has_password
    with pytest.raises(Invalid):
        world.control.set_password(eve.name, HASH, BY)


def test_an_issuer_cannot_vouch_somebody_into_another_ones_name(world: World) -> None:
    world.control.create_user(GRACE, HASH, BY)
    with pytest.raises(Conflict):
        world.control.admit_user(replace(GRACE, subject="s"), BY, decides_roles=False)


# Sessions.


def test_a_session_is_its_users_with_their_roles_of_now(world: World) -> None:
    world.control.create_user(GRACE, HASH, BY)
    world.control.open_session(session(), BY)
    world.control.grant_role("grace", "", Role.ADMIN, BY)
    found = world.control.get_identity(session_sha256=A)
    assert (found.user, found.principal) == ("grace", Principal("grace", Role.ADMIN))
    assert world.control.get_user("grace").last_login_at is not None
    (listed,) = world.control.list_sessions("grace").items
    assert (listed.id, listed.address, listed.agent, listed.method) == (
        "s-a", "::1", "curl", "password",
    )  # fmt: skip


def test_a_session_ends_when_it_lies_unused_or_is_old(world: World) -> None:
    world.control.create_user(GRACE, HASH, BY)
    world.control.open_session(session(sha256=A), BY)
    world.control.open_session(session(sha256=B, idle_s=600), BY)
    world.advance(90)
    with pytest.raises(NotFound):
        world.control.get_identity(session_sha256=A)
    world.control.get_identity(session_sha256=B)
    world.advance(550)
    with pytest.raises(NotFound):
        world.control.get_identity(session_sha256=B)
    assert world.control.list_sessions().items == ()


def test_a_session_that_is_used_does_not_idle(world: World) -> None:
    world.control.create_user(GRACE, HASH, BY)
    world.control.open_session(session(idle_s=150), BY)
    for _ in range(3):
        world.advance(100)
        assert world.control.get_identity(session_sha256=A).user == "grace"


def test_a_session_can_be_ended_by_its_user_and_not_by_another(world: World) -> None:
    world.control.create_user(GRACE, HASH, BY)
    world.control.open_session(session(), BY)
    with pytest.raises(NotFound):
        world.control.end_session("s-a", BY, user="eve")
    world.control.end_session("s-a", BY, user="grace")
    world.control.end_session("s-a", BY)
    with pytest.raises(NotFound):
        world.control.get_identity(session_sha256=A)
    assert [what for _, what, _ in actions(world)].count("session.end") == 1


# Tokens.


def test_a_token_is_known_by_its_hash_until_it_is_revoked(world: World) -> None:
    world.project()
    made = world.control.create_token(token(role=None, projects={"alpha": Role.VIEWER}), BY)
    assert (made.made_by, made.last_used_at) == ("ada", None)
    found = world.control.get_identity(token_sha256=B)
    assert found.principal == Principal("token:ci/bbbbbbbbbbbb", None, {"alpha": Role.VIEWER})
    assert world.control.list_tokens().items[0].last_used_at is not None
    world.control.revoke_token(made.id, BY)
    with pytest.raises(NotFound):
        world.control.get_identity(token_sha256=B)
    assert world.control.list_tokens().items[0].revoked_at is not None


def test_a_token_expires(world: World) -> None:
    ends = datetime.now(UTC) + timedelta(seconds=60)
    world.control.create_token(token(expires_at=ends), BY)
    world.control.get_identity(token_sha256=B)
    world.advance(61)
    with pytest.raises(NotFound):
        world.control.get_identity(token_sha256=B)


def test_a_session_is_no_token_nor_the_other_way_round(world: World) -> None:
    world.control.create_user(GRACE, HASH, BY)
    world.control.open_session(session(), BY)
    world.control.create_token(token(), BY)
    for words in ({"token_sha256": A}, {"session_sha256": B}, {"token_sha256": C}):
        with pytest.raises(NotFound):
            world.control.get_identity(**words)


def test_a_token_needs_a_role_and_projects_that_there_are(world: World) -> None:
    with pytest.raises(Invalid):
        world.control.create_token(token(role=None), BY)
    with pytest.raises(NotFound):
        world.control.create_token(token(projects={"nowhere": Role.VIEWER}), BY)


def test_tokens_are_listed_newest_first(world: World) -> None:
    for sha256 in (A, B, C):
        world.control.create_token(token(sha256), BY)
    first = world.control.list_tokens(page_size=2)
    rest = world.control.list_tokens(page_size=2, cursor=first.next_cursor)
    assert [each.id[0] for each in (*first.items, *rest.items)] == ["c", "b", "a"]


# The trail.


def test_a_refused_login_is_noted_without_what_was_typed(world: World) -> None:
    world.control.note_refusal("grace", "192.0.2.1", "wrong password", "corr")
    (line,) = world.control.read_audit()[0]
    assert (line.line.action, line.line.target, line.line.detail) == (
        "login.refuse", "grace", {"address": "192.0.2.1"},
    )  # fmt: skip


def test_every_line_of_the_trail_is_chained_to_the_one_before(world: World) -> None:
    world.project()
    odd = Intervention("ada", 'a "reason"\n\\ \t\x01 ümlaut \N{SNOWMAN} 𝄞', "corr")
    world.control.create_user(replace(GRACE, projects={"alpha": Role.ADMIN}), HASH, odd)
    bead = world.bead()
    world.control.cancel_bead(bead.id, odd)
    world.control.create_token(token(), BY)
    lines, head = world.control.read_audit()
    check = Check()
    assert check.take(lines), check.end()
    assert check.end(head).broken == 0
    assert len(lines) >= 3
    assert [each.place for each in lines] == list(range(1, len(lines) + 1))
    assert world.control.read_audit(after=1, limit=1)[0] == lines[1:2]
