"""The HTTP API: what people do at their desk with projects and beads."""

from __future__ import annotations

from typing import Any

import pytest
from control_api import BEARER, PROJECT, Api, problem
from werkzeug.test import TestResponse

from loom.domain.outbox import OutboxKind

SHOP = "/api/v1/projects/shop"
BECAUSE = {"reason": "because"}


@pytest.fixture
def api() -> Api:
    """The API with one project."""
    api = Api()
    assert api.post("/api/v1/projects", PROJECT).status_code == 201
    return api


def edit(api: Api, path: str, body: Any, tag: str | None = None) -> TestResponse:
    headers = BEARER | ({"If-Match": tag} if tag else {})
    return api.client.patch(path, json=body, headers=headers)


def here(bead: dict[str, Any], more: str = "") -> str:
    return f"/api/v1/beads/{bead['id']}{more}"


def listed(api: Api, query: str) -> list[str]:
    answer = api.get(f"/api/v1/beads?{query}")
    assert answer.status_code == 200, answer.text
    return [bead["title"] for bead in answer.get_json()["beads"]]


# Editing at a version.


def test_an_edit_takes_the_etag_of_what_it_is_meant_for(api: Api) -> None:
    shown = api.get(SHOP)
    assert shown.headers["ETag"] == '"1"'

    edited = edit(api, SHOP, {"name": "The shop", "test_command": []}, shown.headers["ETag"])

    assert (edited.status_code, edited.headers["ETag"]) == (200, '"2"')
    assert edited.get_json()["name"] == "The shop"
    problem(edit(api, SHOP, {"name": "Other"}, '"1"'), 412, "precondition_failed")
    assert edit(api, SHOP, {"weight": 7}, "*").get_json()["version"] == 3


def test_an_edit_that_does_not_say_of_what_version_is_refused(api: Api) -> None:
    bead = api.file()

    problem(edit(api, SHOP, {"name": "Other"}), 428, "precondition_required")
    problem(edit(api, here(bead), {"priority": 1}), 428, "precondition_required")
    problem(edit(api, here(bead), {"priority": 1}, 'W/"1"'), 412, "precondition_failed")
    assert edit(api, here(bead), {"priority": 1, "version": 1}).status_code == 200
    problem(edit(api, here(bead), {"priority": 0, "version": 1}), 409, "stale")


def test_what_has_not_changed_is_not_sent_again(api: Api) -> None:
    bead = api.file()
    tag = api.get(here(bead)).headers["ETag"]

    again = api.get(here(bead), **{"If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    edit(api, here(bead), {"priority": 0}, tag)
    assert api.get(here(bead), **{"If-None-Match": tag}).status_code == 200


def test_the_words_of_a_bead_are_edited(api: Api) -> None:
    bead = api.file()
    words = {"title": "Other", "description": "more", "context": {"hint": 1}}

    assert edit(api, here(bead), words, "*").get_json() | words == (
        edit(api, here(bead), words, "*").get_json()
    )
    problem(edit(api, here(bead), {"title": "a\nb"}, "*"), 422, "invalid")
    problem(edit(api, here(bead), {"context": {"patch": 1}}, "*"), 422, "invalid")


# Projects that end and begin again.


def test_a_project_is_paused_resumed_closed_and_reopened_with_a_reason(api: Api) -> None:
    for act, state in (
        ("pause", "paused"), ("drain", "draining"), ("resume", "active"), ("close", "closed"),
        ("close", "closed"), ("reopen", "active"), ("reopen", "active"),
    ):  # fmt: skip
        done = api.post(f"{SHOP}/{act}", BECAUSE)
        assert (done.status_code, done.get_json()["state"]) == (200, state)
    problem(api.post(f"{SHOP}/pause", {}), 422, "invalid")
    lines = api.get("/api/v1/audit?target=shop").get_json()["lines"]
    assert [line["action"] for line in lines][:2] == ["project.reopen", "project.close"]
    assert [line["reason"] for line in lines] == ["because"] * (len(lines) - 1) + [""]


def test_a_closed_project_takes_no_beads_and_only_reopening_leads_out_of_it(api: Api) -> None:
    waiting = api.file()
    api.post(f"{SHOP}/close", BECAUSE)

    problem(api.post(f"{SHOP}/beads", {"title": "x"}), 409, "illegal_transition")
    for act in ("pause", "drain", "resume"):
        problem(api.post(f"{SHOP}/{act}", BECAUSE), 409, "illegal_transition")
    assert api.get(here(waiting, "/why")).get_json()["code"] == "project_closed"
    assert [row.kind for row in api.ledger.lease_outbox("d", 10)] == [OutboxKind.EVENT] * 3


# Beads that people take.


def test_a_bead_is_taken_and_released(api: Api) -> None:
    bead = api.file()
    taken = api.post(here(bead, "/claim"), BECAUSE)

    assert (taken.get_json()["assignee"], taken.get_json()["state"]) == ("operator", "open")
    assert taken.headers["ETag"] == '"2"'
    other = api.post(here(bead, "/claim"), BECAUSE | {"assignee": "bob"})
    problem(other, 409, "illegal_transition")
    assert api.get(here(bead, "/why")).get_json()["code"] == "assigned"
    assert listed(api, "assignee=operator") == ["Do it"]
    assert api.post(here(bead, "/release"), BECAUSE).get_json()["assignee"] is None
    problem(api.post("/api/v1/beads/nobody/claim", BECAUSE), 404, "not_found")


def test_a_bead_is_linked_with_another_and_let_go(api: Api) -> None:
    first, second = api.file(), api.file()
    link = here(second, f"/blocked-by/{first['id']}")

    added = api.client.put(link, headers=BEARER)
    assert added.get_json()["blocked_by"] == [first["id"]]
    assert api.client.put(link, headers=BEARER).get_json() == added.get_json()
    circle = api.client.put(here(first, f"/blocked-by/{second['id']}"), headers=BEARER)
    problem(circle, 422, "invalid")
    assert api.client.delete(link, headers=BEARER).get_json()["blocked_by"] == []
    nobody = api.client.put(here(second, "/blocked-by/nobody"), headers=BEARER)
    problem(nobody, 404, "not_found")


def test_one_attempt_is_shown_by_itself(api: Api) -> None:
    bead = api.file()
    api.ledger.claim_bead(bead["id"], 1, "agent-shop")

    assert api.get(here(bead, "/attempts/1")).get_json()["agent_id"] == "agent-shop"
    problem(api.get(here(bead, "/attempts/2")), 404, "not_found")


# Many at once.


def bulk(api: Api, **asked: Any) -> TestResponse:
    return api.post("/api/v1/beads/bulk", BECAUSE | asked)


def test_an_act_on_many_says_of_each_what_became_of_it(api: Api) -> None:
    first, second = api.file(), api.file()
    ids = [first["id"], "bd-none", second["id"]]

    tried = bulk(api, act="cancel", ids=ids, dry_run=True).get_json()
    done = bulk(api, act="cancel", ids=ids).get_json()

    assert tried == done
    assert [each["verdict"] for each in done["outcomes"]] == ["done", "missing", "done"]
    assert done["outcomes"][1]["code"] == "not_found"
    assert (done["done"], done["missing"], done["refused"], done["more"]) == (2, 1, 0, False)
    assert bulk(api, act="retry", ids=ids[:1]).get_json()["refused"] == 1


def test_an_act_on_what_a_filter_shows_leaves_the_rest(api: Api) -> None:
    first, second = api.file(title="Mend the sum"), api.file(title="Mend the product")

    done = bulk(api, act="priority", priority=0, where={"q": "sum", "state": ["open"]})

    assert [each["id"] for each in done.get_json()["outcomes"]] == [first["id"]]
    assert api.get(here(first)).get_json()["priority"] == 0
    assert api.get(here(second)).get_json()["priority"] == 2


@pytest.mark.parametrize(
    "asked",
    [
        {"act": "cancel"},
        {"act": "cancel", "ids": []},
        {"act": "cancel", "ids": ["a"], "where": {"q": "x"}},
        {"act": "cancel", "where": {}},
        {"act": "cancel", "ids": ["a"], "priority": 1},
        {"act": "priority", "ids": ["a"]},
        {"act": "burn", "ids": ["a"]},
        {"act": "cancel", "ids": ["a", "a"]},
        {"act": "cancel", "ids": ["a"], "reason": " "},
        {"act": "cancel", "where": {"state": ["odd"]}},
    ],
)
def test_an_act_that_is_not_whole_is_refused(steady: Api, asked: dict[str, Any]) -> None:
    problem(bulk(steady, **asked), 422, "invalid")


# Lists.


def test_a_list_is_filtered_and_sorted(api: Api) -> None:
    for title, priority in (("one", 2), ("two", 0), ("three", 1)):
        api.file(title=title, priority=priority)

    assert listed(api, "sort=priority") == ["two", "three", "one"]
    assert listed(api, "sort=created&priority=1&priority=2") == ["one", "three"]
    assert listed(api, "q=TWO") == ["two"], "no id has an o"
    assert listed(api, "project=shop&state=open&state=blocked&sort=-created") == [
        "three", "two", "one",
    ]  # fmt: skip
    assert (
        listed(api, "created_since=2020-01-01T00:00:00Z&updated_until=2020-01-02T00:00:00Z") == []
    )


@pytest.mark.parametrize(
    "query",
    ["sort=odd", "priority=7", "q=" + "x" * 201, "created_since=then", "parent=!", "q=a&q=b"],
)
def test_a_filter_that_cannot_be_is_refused(steady: Api, query: str) -> None:
    problem(steady.get(f"/api/v1/beads?{query}"), 422, "invalid")


def test_a_page_goes_on_in_the_order_it_began_in(api: Api) -> None:
    for priority in (2, 0, 1):
        api.file(title=str(priority), priority=priority)
    first = api.get("/api/v1/beads?sort=priority&limit=2").get_json()
    rest = api.get(f"/api/v1/beads?sort=priority&limit=2&cursor={first['next_cursor']}")

    assert [bead["title"] for bead in first["beads"]] == ["0", "1"]
    assert [bead["title"] for bead in rest.get_json()["beads"]] == ["2"]
    problem(api.get(f"/api/v1/beads?cursor={first['next_cursor']}"), 422, "invalid")
