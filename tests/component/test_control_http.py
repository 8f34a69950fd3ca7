"""The HTTP API: what it answers when all is well."""

from __future__ import annotations

from datetime import datetime

import pytest
from control_api import BEARER, PROJECT, Api, finish

from loom.control.app import create_app
from loom.control.readiness import Probe
from loom.domain.evidence import (
    Artifact,
    Commit,
    FailureClass,
    Finding,
    Outcome,
    Step,
    StepKind,
    TestFailure,
    TestReport,
)
from loom.errors import Unavailable
from loom.messaging.deadletter import DeadLetter
from loom.settings import ControlSettings
from loom.testing.ledger import FakeLedger


@pytest.fixture
def api() -> Api:
    """The API with one project."""
    api = Api()
    assert api.post("/api/v1/projects", PROJECT).status_code == 201
    return api


def test_a_project_is_made_and_shown_where_its_location_says(api: Api) -> None:
    answer = api.post("/api/v1/projects", {"id": "other", "repository": "git@host:a/b.git"})

    assert answer.status_code == 201
    assert answer.headers["Location"] == "/api/v1/projects/other"
    document = answer.get_json()
    assert document == api.get(answer.headers["Location"]).get_json()
    assert document["name"] == "other"
    assert document["default_branch"] == "main"
    assert document["test_command"] == []
    assert document["links"]["beads"] == "/api/v1/projects/other/beads"


def test_projects_are_listed_page_by_page(api: Api) -> None:
    for name in ("a", "b"):
        api.post("/api/v1/projects", PROJECT | {"id": name})

    first = api.get("/api/v1/projects?limit=2").get_json()
    second = api.get(f"/api/v1/projects?limit=2&cursor={first['next_cursor']}").get_json()

    assert [p["id"] for p in first["projects"] + second["projects"]] == ["a", "b", "shop"]
    assert second["next_cursor"] is None


def test_one_bead_is_accepted_with_its_location(api: Api) -> None:
    context = {"patch": "--- a\n", "test_command": ["make", "test"], "timeout_s": 5, "hint": [1]}
    answer = api.post(
        "/api/v1/projects/shop/beads",
        {"title": "Mend it ✂", "description": "a\nb", "context": context, "priority": 0},
    )

    assert answer.status_code == 202
    document = answer.get_json()
    assert answer.headers["Location"] == f"/api/v1/beads/{document['id']}"
    assert document == api.get(answer.headers["Location"]).get_json()
    assert set(document) == {
        "id", "project_id", "title", "description", "context", "priority", "state", "resolution",
        "reason", "epoch", "version", "correlation_id", "commits", "created_at", "updated_at",
        "closed_at", "not_before", "blocked_by", "parent", "max_attempts", "assignee",
        "links",
    }  # fmt: skip
    assert document["context"] == context
    assert (document["state"], document["resolution"], document["priority"]) == ("open", None, 0)
    assert document["created_at"].endswith("Z")
    assert document["links"]["attempts"] == f"/api/v1/beads/{document['id']}/attempts"


def test_the_ledger_gets_the_context_as_it_came_without_defaults(api: Api) -> None:
    bead = api.file(context={"hint": {"a": None}})

    assert api.ledger.get_bead(bead["id"]).context == {"hint": {"a": None}}


def test_a_list_of_beads_is_answered_in_its_order(api: Api) -> None:
    wanted = [{"title": f"Bead {n}", "id": f"b-{n}"} for n in range(1_000)]

    answer = api.post("/api/v1/projects/shop/beads", wanted)

    assert answer.status_code == 202
    assert answer.headers["Location"] == "/api/v1/projects/shop/beads"
    assert [bead["id"] for bead in answer.get_json()["beads"]] == [bead["id"] for bead in wanted]


def test_a_list_of_one_is_answered_as_a_list(api: Api) -> None:
    answer = api.post("/api/v1/projects/shop/beads", [{"title": "One"}])

    assert [bead["title"] for bead in answer.get_json()["beads"]] == ["One"]


def test_beads_are_listed_by_project_state_and_resolution(api: Api) -> None:
    api.post("/api/v1/projects", PROJECT | {"id": "other"})
    api.post("/api/v1/projects/other/beads", {"title": "Elsewhere"})
    done, waiting = api.file(title="Done"), api.file(title="Waiting")
    commits = (Commit("c" * 40, "agent/x"),)
    steps = (Step("test", ("true",), 0, 0.1), Step("commit", ("git",), 0, 0.1))
    finish(api.ledger, done["id"], Outcome(succeeded=True, steps=steps, commits=commits))

    def titles(path: str) -> list[str]:
        return [bead["title"] for bead in api.get(path).get_json()["beads"]]

    assert titles("/api/v1/projects/shop/beads") == ["Waiting", "Done"]
    assert titles("/api/v1/beads?project=shop&state=open") == ["Waiting"]
    assert titles("/api/v1/beads?project=shop&state=open&state=closed") == ["Waiting", "Done"]
    assert titles("/api/v1/beads?resolution=succeeded") == ["Done"]
    assert titles("/api/v1/beads?limit=1&project=shop") == ["Waiting"]
    shown = api.get(f"/api/v1/beads/{done['id']}").get_json()
    closed_at = api.ledger.get_bead(done["id"]).closed_at
    assert datetime.fromisoformat(shown["closed_at"]) == closed_at
    assert shown["commits"] == [{"sha": "c" * 40, "branch": "agent/x"}]
    assert waiting["closed_at"] is None


def test_the_attempts_of_a_bead_come_with_their_evidence(api: Api) -> None:
    bead = api.file()
    step = Step(
        "unit", ("python3", "-m", "unittest"), 1, 0.5, "FAILED", StepKind.TEST,
        tests=TestReport("unittest", 2, 1, 1, 0, (TestFailure("t.test_sum", "3 != 4"),)),
        findings=(Finding("flake8", "t.py", 3, "F401", "unused"),),
        log=Artifact("log/unit.txt", "a" * 64, 6, "text/plain"),
    )  # fmt: skip
    failed = Outcome(
        succeeded=False, steps=(step,), output="FAILED", failure_class=FailureClass.WORK,
        reason="the tests fail", artifacts=(Artifact("out.bin", "b" * 64, 3),), notes="Look here.",
    )  # fmt: skip
    finish(api.ledger, bead["id"], failed)

    attempts = api.get(bead["links"]["attempts"]).get_json()["attempts"]

    assert (attempts[0]["epoch"], attempts[0]["outcome"]) == (1, "failed")
    assert (attempts[0]["failure_class"], attempts[0]["reason"]) == ("work", "the tests fail")
    assert attempts[0]["steps"] == [
        {
            "name": "unit",
            "kind": "test",
            "argv": ["python3", "-m", "unittest"],
            "exit_code": 1,
            "duration_s": 0.5,
            "advisory": False,
            "tests": {
                "format": "unittest",
                "total": 2,
                "passed": 1,
                "failed": 1,
                "skipped": 0,
                "failures": [{"name": "t.test_sum", "message": "3 != 4"}],
            },
            "findings": [
                {
                    "tool": "flake8",
                    "file": "t.py",
                    "line": 3,
                    "rule": "F401",
                    "message": "unused",
                }
            ],
            "output_tail": "FAILED",
            "log": {
                "name": "log/unit.txt",
                "sha256": "a" * 64,
                "size": 6,
                "media_type": "text/plain",
            },
        }
    ]
    assert attempts[0]["artifacts"] == [
        {
            "name": "out.bin",
            "sha256": "b" * 64,
            "size": 3,
            "media_type": "application/octet-stream",
        }
    ]
    assert attempts[0]["notes"] == "Look here."


@pytest.mark.parametrize(
    ("body", "shown", "encoding"), [(b"{}", "{}", "utf-8"), (b"\xff", "/w==", "base64")]
)
def test_dead_letters_are_listed_with_their_reason(
    api: Api, body: bytes, shown: str, encoding: str
) -> None:
    letter = DeadLetter(
        "m1", "loom.tasks.shop", "shop", "", 0, "unknown_type", "no agent knows it", "c1",
        '{"id": "m1"}', "[]", body, "f",
    )  # fmt: skip
    api.ledger.record_dead_letters([letter])

    for path in ("/api/v1/dead-letters", "/api/v1/projects/shop/dead-letters"):
        found = api.get(path).get_json()["dead_letters"][0]
        assert (found["reason"], found["headers"]) == ("unknown_type", {"id": "m1"})
        assert (found["body"], found["body_encoding"]) == (shown, encoding)


def test_a_repeated_request_answers_byte_for_byte_as_the_first_did(api: Api) -> None:
    key = {"Idempotency-Key": "one of mine: 7"}
    for path, body in (
        ("/api/v1/projects", PROJECT | {"id": "again"}),
        ("/api/v1/projects/shop/beads", {"title": "Once", "context": {"b": 1, "a": 2}}),
        ("/api/v1/projects/shop/beads", [{"title": "Many"}, {"title": "Of them"}]),
    ):
        headers = key | {"Idempotency-Key": f"{key['Idempotency-Key']} {path} {type(body)}"}
        first, second = (api.post(path, body, headers) for _ in range(2))

        assert "Idempotency-Replayed" not in first.headers
        assert second.headers["Idempotency-Replayed"] == "true"
        assert (second.status_code, second.data) == (first.status_code, first.data)
        assert second.headers["Location"] == first.headers["Location"]
    titles = [bead.title for bead in api.ledger.list_beads().items]
    assert sorted(titles) == ["Many", "Of them", "Once"]


def test_a_body_that_says_the_same_in_another_order_is_the_same_request(api: Api) -> None:
    headers = {"Idempotency-Key": "k"}
    api.post("/api/v1/projects/shop/beads", {"title": "Once", "priority": 1}, headers)

    again = api.post("/api/v1/projects/shop/beads", {"priority": 1, "title": "Once"}, headers)

    assert again.headers["Idempotency-Replayed"] == "true"


def test_one_key_at_two_addresses_is_two_requests(api: Api) -> None:
    api.post("/api/v1/projects", PROJECT | {"id": "other"})
    for project in ("shop", "other"):
        answer = api.post(
            f"/api/v1/projects/{project}/beads", {"title": "Do it"}, {"Idempotency-Key": "k"}
        )
        assert "Idempotency-Replayed" not in answer.headers
    assert len(api.ledger.list_beads().items) == 2


def test_a_callers_correlation_id_goes_to_the_ledger_and_comes_back(api: Api) -> None:
    answer = api.post(
        "/api/v1/projects/shop/beads", {"title": "Do it"}, {"X-Correlation-Id": "order-7.a:b_c"}
    )

    assert answer.headers["X-Correlation-Id"] == "order-7.a:b_c"
    assert answer.get_json()["correlation_id"] == "order-7.a:b_c"


@pytest.mark.parametrize("given", ["", " x", "a b", "a;b", "é", "x" * 129, "-x"])
def test_a_correlation_id_of_another_form_is_replaced(steady: Api, given: str) -> None:
    answer = steady.get("/api/v1/projects", **{"X-Correlation-Id": given})

    assert answer.status_code == 200
    assert answer.headers["X-Correlation-Id"] != given
    assert len(answer.headers["X-Correlation-Id"]) == 26


def test_a_callers_trace_is_continued_into_the_ledger(api: Api) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"

    api.post(
        "/api/v1/projects/shop/beads",
        {"title": "Do it"},
        {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"},
    )

    assert api.ledger.events[-1].type == "bead.created"
    assert api.ledger.events[-1].traceparent.split("-")[1] == trace_id


def test_the_index_says_what_is_where(api: Api) -> None:
    links = api.get("/").get_json()["links"]

    for name in ("projects", "beads", "dead_letters"):
        assert api.get(links[name]).status_code == 200


def test_the_probes_are_open_and_readiness_names_the_part_that_is_away() -> None:
    def away() -> None:
        raise Unavailable("nothing listens there")

    def app_with(probe: Probe) -> object:
        settings = ControlSettings(token_sha256="0" * 64)
        parts, breakers = {"database": probe}, {"database": lambda: "closed"}
        return create_app(FakeLedger(), settings, parts, breakers=breakers).test_client()

    waiting, ready = app_with(away), app_with(lambda: None)

    assert waiting.get("/healthz").get_json() == {"status": "alive"}  # type: ignore[attr-defined]
    answer = waiting.get("/readyz")  # type: ignore[attr-defined]
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.get_json()["parts"] == {"database": "nothing listens there"}
    assert answer.get_json()["breakers"] == {"database": "closed"}
    answer = ready.get("/readyz")  # type: ignore[attr-defined]
    assert (answer.status_code, answer.get_json()["status"]) == (200, "ready")


def test_head_and_options_are_answered_too(api: Api) -> None:
    assert api.client.head("/api/v1/projects", headers=BEARER).status_code == 200
    answer = api.client.options("/api/v1/projects", headers=BEARER)
    assert "POST" in answer.headers["Allow"]
