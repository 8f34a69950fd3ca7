"""What beads wait for, over HTTP and on the command line."""

from __future__ import annotations

from typing import Any

import pytest
from control_api import BEARER, PROJECT, Api, finish, problem
from test_cli_commands import Shell, attempted
from werkzeug.test import TestResponse

from loom.domain.outbox import ClaimVerdict

SHOP = "/api/v1/projects/shop"


@pytest.fixture
def api() -> Api:
    made = Api()
    assert made.post("/api/v1/projects", PROJECT).status_code == 201
    return made


@pytest.fixture
def shell(api: Api) -> Shell:
    return Shell(api)


def patch(api: Api, path: str, body: Any) -> TestResponse:
    return api.client.patch(path, json=body, headers=BEARER | {"If-Match": "*"})


def why(api: Api, bead: dict[str, Any]) -> dict[str, Any]:
    answer = api.get(bead["links"]["why"])
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


# Projects.


def test_a_project_has_a_state_a_share_and_limits(api: Api) -> None:
    document = api.get(SHOP).get_json()

    assert (document["state"], document["weight"]) == ("active", 10)
    assert (document["max_in_progress"], document["max_attempts"]) == (0, 0)


def test_a_project_is_made_with_limits_and_paused(api: Api) -> None:
    limits = {"state": "paused", "weight": 3, "max_in_progress": 2, "max_attempts": 4}
    answer = api.post("/api/v1/projects", PROJECT | {"id": "mill"} | limits)

    assert answer.status_code == 201
    assert limits.items() <= api.get("/api/v1/projects/mill").get_json().items()


def test_a_patch_changes_what_it_names_and_nothing_else(api: Api) -> None:
    before = api.get(SHOP).get_json()
    answer = patch(api, SHOP, {"state": "draining", "weight": 100})

    assert answer.status_code == 200
    assert answer.get_json() == before | {"state": "draining", "weight": 100, "version": 2}
    assert api.get(SHOP).get_json() == answer.get_json()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, ""),
        ([], ""),
        ({"state": "off"}, "state"),
        ({"state": 1}, "state"),
        ({"weight": 0}, "weight"),
        ({"weight": 101}, "weight"),
        ({"weight": "5"}, "weight"),
        ({"max_in_progress": -1}, "max_in_progress"),
        ({"max_attempts": 101}, "max_attempts"),
        ({"queue_window": 0}, "queue_window"),
        ({"repository": "not an address"}, "repository"),
        ({"id": "other"}, "id"),
    ],
)
def test_a_patch_of_a_project_that_breaks_a_rule_is_refused(
    steady: Api, body: Any, field: str
) -> None:
    document = problem(patch(steady, SHOP, body), 422, "invalid")

    assert document["errors"][0]["field"] == field


def test_a_patch_of_no_project_is_not_found(steady: Api) -> None:
    problem(patch(steady, "/api/v1/projects/none", {"weight": 2}), 404, "not_found")
    problem(patch(steady, "/api/v1/projects/No", {"weight": 2}), 404, "not_found")


# Beads.


def test_a_bead_says_what_it_waits_for(api: Api) -> None:
    first = api.file()
    parent = api.file()
    bead = api.file(
        blocked_by=[first["id"]], parent=parent["id"], not_before="2031-05-01T11:00:00+02:00",
        max_attempts=3,
    )  # fmt: skip

    assert bead["blocked_by"] == [first["id"]]
    assert bead["parent"] == parent["id"]
    assert bead["not_before"] == "2031-05-01T09:00:00.000000Z"
    assert bead["max_attempts"] == 3
    assert api.get(bead["links"]["self"]).get_json() == bead
    assert [first["not_before"], first["blocked_by"], first["parent"]] == [None, [], None]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"not_before": "tomorrow"}, "not_before"),
        ({"not_before": "2031-05-01T09:00:00"}, "not_before"),
        ({"not_before": "9999-05-01T09:00:00Z"}, "not_before"),
        ({"not_before": 5}, "not_before"),
        ({"blocked_by": "b"}, "blocked_by"),
        ({"blocked_by": ["A B"]}, "blocked_by.0"),
        ({"blocked_by": ["b", "b"]}, "blocked_by"),
        ({"blocked_by": [f"b{n}" for n in range(101)]}, "blocked_by"),
        ({"blocked_by": ["nobody"]}, "blocked_by"),
        ({"parent": "nobody"}, "parent"),
        ({"id": "own", "blocked_by": ["own"]}, "blocked_by"),
        ({"max_attempts": 101}, "max_attempts"),
    ],
)
def test_what_a_bead_cannot_wait_for_is_refused(
    steady: Api, more: dict[str, Any], field: str
) -> None:
    document = problem(steady.post(f"{SHOP}/beads", {"title": "x"} | more), 422, "invalid")

    assert document["errors"][0]["field"] == field


def test_a_circle_is_refused_by_name(steady: Api) -> None:
    beads = [
        {"title": "x", "id": "a", "blocked_by": ["b"]},
        {"title": "x", "id": "b", "blocked_by": ["a"]},
    ]
    document = problem(steady.post(f"{SHOP}/beads", beads), 422, "invalid")

    assert "a -> b -> a" in document["detail"]


def test_a_patch_changes_what_a_bead_waits_for_and_null_takes_it_away(api: Api) -> None:
    first = api.file()
    bead = api.file(blocked_by=[first["id"]], not_before="2031-05-01T09:00:00Z")
    body = {"version": bead["version"], "blocked_by": [], "not_before": None, "priority": 0}
    answer = patch(api, bead["links"]["self"], body)

    assert answer.status_code == 200
    document = answer.get_json()
    assert (document["blocked_by"], document["not_before"], document["priority"]) == ([], None, 0)
    problem(patch(api, bead["links"]["self"], body), 409, "stale")


def test_a_patch_of_a_bead_has_to_say_what(api: Api) -> None:
    here = api.file()["links"]["self"]

    problem(patch(api, here, {}), 422, "invalid")
    problem(patch(api, here, {"version": 1}), 422, "invalid")
    problem(patch(api, here, {"title": " "}), 422, "invalid")
    problem(patch(api, "/api/v1/beads/nobody", {"priority": 1}), 404, "not_found")


def test_what_has_begun_keeps_what_it_waited_for(api: Api) -> None:
    bead = api.file()
    api.ledger.claim_bead(bead["id"], 1, "agent-shop")

    problem(patch(api, bead["links"]["self"], {"priority": 0}), 409, "illegal_transition")


def test_why_names_all_that_holds_a_bead_up_the_first_thing_first(api: Api) -> None:
    patch(api, SHOP, {"state": "paused"})
    first = api.file()
    document = why(api, api.file(blocked_by=[first["id"]]))

    assert document["code"] == "waits_for_beads"
    assert first["id"] in document["sentence"]
    assert [reason["code"] for reason in document["reasons"]] == [
        "waits_for_beads", "project_paused",
    ]  # fmt: skip
    assert "loom project resume shop" in document["reasons"][1]["remedy"]
    assert document["position"] is None


def test_why_tells_the_place_in_the_order(api: Api) -> None:
    api.file()
    document = why(api, api.file(priority=3))

    assert (document["code"], document["position"]) == ("in_line", 2)
    assert 2.9 < document["effective_priority"] <= 3


def test_why_of_no_bead_is_not_found(steady: Api) -> None:
    problem(steady.get("/api/v1/beads/nobody/why"), 404, "not_found")
    problem(steady.get("/api/v1/beads/No Body/why"), 404, "not_found")


# The command line.


def test_a_project_is_paused_drained_and_resumed(shell: Shell) -> None:
    for command, state in (("pause", "paused"), ("drain", "draining"), ("resume", "active")):
        result = shell.run("project", command, "shop")
        assert (result.exit_code, f"shop is {state}" in result.output) == (0, True), result.output
        assert shell.document("project", "show", "shop")["state"] == state


def test_a_project_s_share_and_limits_are_set(shell: Shell) -> None:
    changed = shell.document(
        "project", "set", "shop", "--weight", "40", "--max-in-progress", "2", "--max-attempts", "3"
    )

    assert (changed["weight"], changed["max_in_progress"], changed["max_attempts"]) == (40, 2, 3)
    assert "40" in shell.run("project", "show", "shop").output
    assert shell.run("project", "set", "shop").exit_code == 2
    assert shell.run("project", "set", "shop", "--weight", "101").exit_code == 2


def test_a_bead_is_filed_with_what_it_waits_for_and_says_why(shell: Shell) -> None:
    shell.document("bead", "file", "shop", "--title", "one", "--id", "one")
    filed = shell.document(
        "bead", "file", "shop", "--title", "two", "--id", "two", "--blocked-by", "one",
        "--not-before", "2h", "--max-attempts", "2",
    )  # fmt: skip
    assert filed["blocked_by"] == ["one"]
    assert "one" in shell.run("bead", "show", "two").output

    result = shell.run("bead", "why", "two")
    assert result.exit_code == 0, result.output
    assert "it waits for one (open) to succeed (waits_for_beads)" in result.output
    assert "not due" in result.output
    assert shell.document("bead", "why", "two")["code"] == "waits_for_beads"


def test_a_bead_is_edited_until_nothing_holds_it_up(shell: Shell) -> None:
    for words in (("one",), ("two", "--blocked-by", "one", "--not-before", "2031-01-01T00:00Z")):
        shell.document("bead", "file", "shop", "--title", "x", "--id", *words)
    shell.document("bead", "edit", "two", "--not-blocked-by", "one", "--now", "--priority", "0")

    explained = shell.document("bead", "why", "two")
    assert (explained["code"], explained["position"]) == ("in_line", 1)
    assert shell.run("bead", "edit", "two").exit_code == 2
    shell.document("bead", "edit", "one", "--parent", "two")
    assert shell.document("bead", "why", "two")["code"] == "waits_for_beads"
    shell.document("bead", "edit", "one", "--no-parent")
    assert shell.document("bead", "why", "two")["code"] == "in_line"


@pytest.mark.parametrize("moment", ["soon", "5y", "2026-13-01", "999999d" * 2])
def test_a_moment_that_is_none_is_said_in_words(steady: Api, moment: str) -> None:
    result = Shell(steady).run("bead", "file", "shop", "--title", "x", "--not-before", moment)

    assert (result.exit_code, "90m" in result.stderr) == (2, True), result.output


def test_a_blocker_that_failed_is_told_with_the_way_out(shell: Shell) -> None:
    shell.document("bead", "file", "shop", "--title", "x", "--id", "one")
    shell.document("bead", "file", "shop", "--title", "x", "--id", "two", "--blocked-by", "one")
    finish(shell.api.ledger, "one", attempted(passes=False))

    result = shell.run("bead", "why", "two")
    assert "one (failed)" in result.output
    assert "loom bead edit two --not-blocked-by one" in result.output


def test_a_claim_in_a_paused_project_is_put_off(api: Api) -> None:
    bead = api.file()
    patch(api, SHOP, {"state": "paused"})

    assert api.ledger.claim_bead(bead["id"], 1, "agent").verdict is ClaimVerdict.DEFERRED
    assert why(api, bead)["code"] == "project_paused"
