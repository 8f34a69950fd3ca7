"""The routes by which people act: beads, dead letters, the audit."""

from __future__ import annotations

from typing import Any

import pytest
from control_api import PROJECT, Api, problem

from loom.messaging.deadletter import DeadLetter

WHY = {"reason": "the parser is mended"}
LETTERS = "/api/v1/dead-letters"


@pytest.fixture
def api() -> Api:
    made = Api()
    made.post("/api/v1/projects", PROJECT)
    return made


def dies(api: Api, number: int = 1, **other: Any) -> int:
    """The number of a letter that nobody's bead is in."""
    words: dict[str, Any] = {
        "message_id": f"m{number}", "queue": "loom.tasks.shop", "project_id": "shop",
        "bead_id": "", "epoch": 0, "reason": "unknown_type", "detail": "no agent knows it",
        "correlation_id": "c", "headers": "{}", "deaths": "[]", "body": b"\xff\x00",
        "fingerprint": "cause", "size": 2,
    }  # fmt: skip
    api.ledger.record_dead_letters([DeadLetter(**(words | other))])
    return api.ledger.list_dead_letters().items[0].id


def test_a_bead_is_cancelled_with_a_reason_and_again_without_a_change(api: Api) -> None:
    bead = api.file()
    path = f"/api/v1/beads/{bead['id']}/cancel"
    answer = api.post(path, WHY)
    assert answer.status_code == 200
    told = answer.get_json()
    assert (told["state"], told["resolution"]) == ("closed", "cancelled")
    assert told["reason"] == "cancelled by operator: the parser is mended"
    assert api.post(path, WHY).get_json() == told


@pytest.mark.parametrize(
    "body", [{}, {"reason": ""}, {"reason": " \n"}, {"reason": 7}, {"reason": "x", "by": "me"}, []]
)
def test_an_act_without_a_proper_reason_is_refused(api: Api, body: Any) -> None:
    bead = api.file()
    problem(api.post(f"/api/v1/beads/{bead['id']}/cancel", body), 422, "invalid")
    assert api.get(f"/api/v1/beads/{bead['id']}").get_json()["state"] == "open"


@pytest.mark.parametrize("act", ["unblock", "retry"])
def test_a_blocked_bead_goes_on(api: Api, act: str) -> None:
    bead = api.file()
    dies(api, bead_id=bead["id"], epoch=1)
    assert api.get(f"/api/v1/beads/{bead['id']}").get_json()["state"] == "blocked"
    answer = api.post(f"/api/v1/beads/{bead['id']}/{act}", WHY)
    assert (answer.status_code, answer.get_json()["state"]) == (200, "open")
    assert api.get(f"{LETTERS}?state=open").get_json()["dead_letters"] == []


@pytest.mark.parametrize("act", ["unblock", "retry"])
def test_a_closed_bead_is_not_tried_again(api: Api, act: str) -> None:
    bead = api.file()
    api.post(f"/api/v1/beads/{bead['id']}/cancel", WHY)
    told = problem(api.post(f"/api/v1/beads/{bead['id']}/{act}", WHY), 409, "illegal_transition")
    assert "refile" in told["detail"]


@pytest.mark.parametrize("act", ["cancel", "unblock", "retry"])
def test_a_bead_that_is_not_there_is_not_found(steady: Api, act: str) -> None:
    problem(steady.post(f"/api/v1/beads/bd-none/{act}", WHY), 404, "not_found")
    problem(steady.post(f"/api/v1/beads/..{act}/{act}", WHY), 404, "not_found")


def test_a_letter_is_shown_with_its_body_and_state(api: Api) -> None:
    number = dies(api)
    told = api.get(f"{LETTERS}/{number}").get_json()
    assert (told["id"], told["state"], told["size"], told["cut"]) == (number, "open", 2, False)
    assert (told["body"], told["body_encoding"]) == ("/wA=", "base64")
    for missing in (number + 1, 2**70):
        problem(api.get(f"{LETTERS}/{missing}"), 404, "not_found")


def test_a_letter_is_replayed_and_discarded_with_a_dry_run_first(api: Api) -> None:
    one, two = dies(api, 1), dies(api, 2)
    for act, number, state in (("replay", one, "replayed"), ("discard", two, "discarded")):
        path = f"{LETTERS}/{number}/{act}"
        assert api.post(path, WHY | {"dry_run": True}).get_json()["state"] == "open"
        told = api.post(path, WHY).get_json()
        assert (told["state"], told["settled_by"], told["note"]) == (
            state, "operator", WHY["reason"],
        )  # fmt: skip
    problem(api.post(f"{LETTERS}/{one}/discard", WHY), 409, "illegal_transition")


def test_groups_are_shown_and_discarded(api: Api) -> None:
    dies(api, 1)
    dies(api, 2)
    (group,) = api.get(f"{LETTERS}/groups?state=open&project=shop").get_json()["groups"]
    assert (group["fingerprint"], group["count"], group["open"]) == ("cause", 2, 2)
    assert api.get(group["links"]["example"]).status_code == 200
    assert len(api.get(group["links"]["letters"]).get_json()["dead_letters"]) == 2
    path = f"{LETTERS}/groups/cause/discard"
    dry = api.post(path, WHY | {"dry_run": True}).get_json()
    assert dry == {"matching": 2, "discarded": 0}
    assert api.post(path, WHY).get_json() == {"matching": 2, "discarded": 2}


def test_a_group_is_replayed_with_a_canary_at_a_rate(api: Api) -> None:
    for number in range(5):
        dies(api, number)
    path = f"{LETTERS}/groups/cause/replay"
    dry = api.post(path, WHY | {"dry_run": True})
    assert (dry.status_code, dry.get_json()) == (200, {"matching": 5, "replay": None})
    answer = api.post(path, WHY | {"rate_per_s": 2, "canary": True})
    assert answer.status_code == 202
    begun = answer.get_json()["replay"]
    assert (begun["state"], begun["replayed"], begun["left"]) == ("canary", 1, 4)
    assert begun["rate_per_s"] == 2.0
    problem(api.post(path, WHY), 409, "conflict")
    assert api.get(f"{LETTERS}/replays").get_json()["replays"] == [begun]


@pytest.mark.parametrize("rate", [0, -1, 1_001, "fast", True])
def test_a_rate_has_bounds(steady: Api, rate: Any) -> None:
    path = f"{LETTERS}/groups/cause/replay"
    problem(steady.post(path, WHY | {"rate_per_s": rate}), 422, "invalid")


def test_the_audit_tells_who_and_why(api: Api) -> None:
    bead = api.file()
    api.post(f"/api/v1/beads/{bead['id']}/cancel", WHY, {"X-Correlation-Id": "corr-7"})
    number = dies(api)
    api.post(f"{LETTERS}/{number}/discard", WHY)
    newest, before, _made = api.get("/api/v1/audit").get_json()["lines"]
    assert (newest["action"], newest["target"]) == ("dead_letter.discard", str(number))
    assert (before["actor"], before["action"], before["target"], before["reason"]) == (
        "operator", "bead.cancel", bead["id"], WHY["reason"],
    )  # fmt: skip
    assert before["correlation_id"] == "corr-7"
    only = api.get(f"/api/v1/audit?target={bead['id']}&action=bead.cancel").get_json()
    assert (only["lines"], only["next_cursor"]) == ([before], None)
    first = api.get("/api/v1/audit?limit=1").get_json()
    second = api.get(f"/api/v1/audit?limit=1&cursor={first['next_cursor']}").get_json()
    assert second["lines"] == [before]


@pytest.mark.parametrize(
    "query", ["audit?limit=0", "dead-letters?state=lost", "dead-letters/groups?colour=red"]
)
def test_a_query_that_is_not_understood_is_refused(steady: Api, query: str) -> None:
    problem(steady.get(f"/api/v1/{query}"), 422, "invalid")


def test_only_whoever_holds_the_token_may_act(api: Api) -> None:
    bead = api.file()
    answer = api.client.post(f"/api/v1/beads/{bead['id']}/cancel", json=WHY)
    problem(answer, 401, "unauthenticated")
