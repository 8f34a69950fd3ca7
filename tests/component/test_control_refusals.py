"""The HTTP API: what it refuses, in which words, and that nothing is stored then."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from control_api import BEARER, PROJECT, Api, make_app, problem

from loom.errors import (
    DeadlineExceeded,
    Exhausted,
    Forbidden,
    Internal,
    LoomError,
    Unauthenticated,
    Unavailable,
)
from loom.testing.ledger import FakeLedger

BEADS = "/api/v1/projects/shop/beads"


@pytest.fixture(scope="module")
def refuses() -> Api:
    """The API with one project and one bead, for all that changes neither."""
    api = Api()
    assert api.post("/api/v1/projects", PROJECT).status_code == 201
    api.file(id="taken")
    return api


@pytest.fixture
def api(refuses: Api) -> Iterator[Api]:
    """That API; when the test ends it has to have just these."""
    api = refuses
    yield api
    assert [project.id for project in api.ledger.list_projects().items] == ["shop"]
    assert [bead.id for bead in api.ledger.list_beads().items] == ["taken"]
    assert [event.type for event in api.ledger.events] == ["project.created", "bead.created"]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b'{"title": "x"} x', b"'x'", b"\xff\xfe", b'{"title": "\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"title": NaN}', b'{"title": "x", "context": {"n": -Infinity}}',
        b'{"title": "x", "context": {"n": 1e999}}', b'{"title": "x", "title": "y"}',
        b'{"title": "x", "context": {"a": {"b": 1, "b": 1}}}', b"[" * 200_000,
        b'{"title": "x", "context": {"n": ' + b"1" * 5_000 + b"}}",
    ],
)  # fmt: skip
def test_what_is_not_strict_json_is_a_bad_request(api: Api, body: bytes) -> None:
    for path in ("/api/v1/projects", BEADS):
        problem(api.post_raw(path, body), 400, "bad_request")


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded",
                     "multipart/form-data; boundary=x", "application/json; charset=latin-1"],
)  # fmt: skip
def test_a_body_not_declared_as_json_is_refused(api: Api, content_type: str) -> None:
    answer = api.post_raw(BEADS, b'{"title": "x"}', content_type)

    problem(answer, 415, "unsupported_media_type")


def test_a_body_over_the_limit_is_refused_and_one_at_the_limit_is_not(api: Api) -> None:
    limit = 256 * 1024

    def padded(size: int) -> bytes:
        return b'{"title": ""}'.ljust(size)

    problem(api.post_raw(BEADS, padded(limit + 1)), 413, "too_large")
    problem(api.post_raw(BEADS, padded(limit)), 422, "invalid")


def test_a_chunked_body_is_held_to_the_same_limit(api: Api) -> None:
    def chunked(size: int) -> Any:
        return api.client.post(
            BEADS,
            input_stream=io.BytesIO(b'{"title": "x"}'.ljust(size)),
            content_type="application/json",
            headers=BEARER | {"Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input_terminated": True},
        )

    problem(chunked(256 * 1024 + 1), 413, "too_large")
    problem(chunked(1024 * 1024), 413, "too_large")


def test_a_body_that_ends_early_is_refused(api: Api) -> None:
    answer = api.client.post(
        BEADS,
        input_stream=io.BytesIO(b'{"title": "x"}'),
        content_type="application/json",
        headers=BEARER,
        environ_overrides={"CONTENT_LENGTH": "100", "wsgi.input_terminated": True},
    )

    problem(answer, 400, "bad_request")


@pytest.mark.parametrize(
    ("bead", "field"),
    [
        ({}, "title"),
        ({"title": ""}, "title"),
        ({"title": "  "}, "title"),
        ({"title": 5}, "title"),
        ({"title": None}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"title": "two\nlines"}, "title"),
        ({"title": "bell\x07"}, "title"),
        ({"title": "line\u2028separator"}, "title"),
        ({"title": "nul\0"}, "title"),
        ({"title": "x", "surprise": 1}, "surprise"),
        ({"title": "x", "state": "closed"}, "state"),
        ({"title": "x", "id": ""}, "id"),
        ({"title": "x", "id": "Upper"}, "id"),
        ({"title": "x", "id": "a/b"}, "id"),
        ({"title": "x", "id": "a..b"}, "id"),
        ({"title": "x", "id": "a.lock"}, "id"),
        ({"title": "x", "id": "x" * 101}, "id"),
        ({"title": "x", "description": 1}, "description"),
        ({"title": "x", "description": "x" * 20_001}, "description"),
        ({"title": "x", "description": "nul\0"}, "description"),
        ({"title": "x", "priority": 4}, "priority"),
        ({"title": "x", "priority": -1}, "priority"),
        ({"title": "x", "priority": "1"}, "priority"),
        ({"title": "x", "priority": 1.0}, "priority"),
        ({"title": "x", "priority": True}, "priority"),
        ({"title": "x", "context": []}, "context"),
        ({"title": "x", "context": None}, "context"),
        ({"title": "x", "context": "{}"}, "context"),
        ({"title": "x", "context": {"patch": None}}, "context.patch"),
        ({"title": "x", "context": {"patch": ["x"]}}, "context.patch"),
        ({"title": "x", "context": {"patch": "é" * (100 * 1024 + 1)}}, "context.patch"),
        ({"title": "x", "context": {"test_command": "make"}}, "context.test_command"),
        ({"title": "x", "context": {"test_command": []}}, "context.test_command"),
        ({"title": "x", "context": {"test_command": [""]}}, "context.test_command"),
        ({"title": "x", "context": {"test_command": ["a", 1]}}, "context.test_command.1"),
        ({"title": "x", "context": {"test_command": ["a", "b\0"]}}, "context.test_command.1"),
        ({"title": "x", "context": {"timeout_s": 0}}, "context.timeout_s"),
        ({"title": "x", "context": {"timeout_s": 86_401}}, "context.timeout_s"),
        ({"title": "x", "context": {"timeout_s": 1.5}}, "context.timeout_s"),
        ({"title": "x", "context": {"timeout_s": True}}, "context.timeout_s"),
        ({"title": "x", "context": {"soft_timeout_s": 0}}, "context.soft_timeout_s"),
        ({"title": "x", "context": {"hint": "nul\0"}}, "context.hint"),
        ({"title": "x", "context": {"hint": "\ud800"}}, "context.hint"),
        ({"title": "x", "context": {"nul\0": 1}}, "context"),
    ],
)
def test_a_bead_that_breaks_a_rule_is_refused_naming_the_field(
    api: Api, bead: dict[str, Any], field: str
) -> None:
    body = json.dumps(bead, ensure_ascii=len(json.dumps(bead)) < 1_000).encode()

    alone = problem(api.post_raw(BEADS, body), 422, "invalid")
    listed = problem(api.post_raw(BEADS, b'[{"title": "fine"}, ' + body + b"]"), 422, "invalid")

    assert [error["field"] for error in alone["errors"]] == [field]
    assert [error["field"] for error in listed["errors"]] == [f"1.{field}"]
    assert all(error["message"] for error in alone["errors"])


@pytest.mark.parametrize("body", [[], 5, "x", None, True, [[]], [5], [{"title": "x"}] * 1_001])
def test_a_body_that_is_no_bead_is_refused(api: Api, body: Any) -> None:
    raw = json.dumps(body).encode()

    problem(api.post_raw(BEADS, raw), 422, "invalid")


def test_a_context_nested_too_deeply_is_refused(api: Api) -> None:
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"a": deep}

    document = problem(api.post(BEADS, {"title": "x", "context": deep}), 422, "invalid")

    assert document["errors"][0]["field"].startswith("context.a")


def test_every_fault_of_a_body_is_told_at_once(api: Api) -> None:
    document = problem(api.post(BEADS, {"priority": 9, "hue": 1}), 422, "invalid")

    assert {error["field"] for error in document["errors"]} == {"title", "priority", "hue"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": "Bad"}, "id"), ({"id": ""}, "id"), ({"id": "-x"}, "id"), ({"id": "a_b"}, "id"),
        ({"id": "x" * 64}, "id"), ({"id": 5}, "id"), ({"id": "a\n"}, "id"),
        ({"repository": ""}, "repository"), ({"repository": "-upload-pack=x"}, "repository"),
        ({"repository": "ext::sh -c id"}, "repository"),
        ({"repository": "https://me:secret@host/x"}, "repository"),
        ({"repository": 1}, "repository"), ({"name": "a\nb"}, "name"), ({"name": 1}, "name"),
        ({"default_branch": "a..b"}, "default_branch"),
        ({"test_command": []}, "test_command"), ({"test_command": "make"}, "test_command"),
        ({"timeout_s": 0}, "timeout_s"), ({"soft_timeout_s": -1}, "soft_timeout_s"),
        ({"timeout_s": "1"}, "timeout_s"),
        ({"queue_window": 0}, "queue_window"), ({"queue_window": 10_001}, "queue_window"),
        ({"colour": "red"}, "colour"),
    ],
)  # fmt: skip
def test_a_project_that_breaks_a_rule_is_refused_naming_the_field(
    api: Api, change: dict[str, Any], field: str
) -> None:
    answer = api.post("/api/v1/projects", {"id": "new", "repository": "/srv/x.git"} | change)

    assert [e["field"] for e in problem(answer, 422, "invalid")["errors"]] == [field]


def test_a_project_or_bead_that_is_not_there_is_not_found(api: Api) -> None:
    for path in (
        "/api/v1/projects/none", "/api/v1/projects/none/beads",
        "/api/v1/projects/none/dead-letters", "/api/v1/beads/none",
        "/api/v1/beads/none/attempts", "/api/v1/projects/Bad%20Slug",
        "/api/v1/projects/a%00b/beads", "/api/v1/beads/%00", "/api/v1/beads/a..b/attempts",
    ):  # fmt: skip
        problem(api.get(path), 404, "not_found")
    for project in ("none", "Bad_Slug"):
        answer = api.post(f"/api/v1/projects/{project}/beads", {"title": "x"})
        problem(answer, 404, "not_found")


def test_a_taken_id_is_a_conflict(api: Api) -> None:
    problem(api.post("/api/v1/projects", PROJECT), 409, "conflict")
    problem(api.post(BEADS, {"title": "x", "id": "taken"}), 409, "conflict")
    problem(api.post(BEADS, [{"title": "x"}, {"title": "x", "id": "taken"}]), 409, "conflict")
    twice = [{"title": "x", "id": "a"}, {"title": "x", "id": "a"}]
    problem(api.post(BEADS, twice), 409, "conflict")


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=501", "limit=x", "limit=1&limit=2", "state=done", "resolution=x",
     "project=BAD", "cursor=%00", "cursor=zzz", "cursor=" + "x" * 501, "surprise=1"],
)  # fmt: skip
def test_a_query_that_breaks_a_rule_is_refused(api: Api, query: str) -> None:
    problem(api.get(f"/api/v1/beads?{query}"), 422, "invalid")


def test_a_page_of_dead_letters_is_smaller(api: Api) -> None:
    problem(api.get("/api/v1/dead-letters?limit=101"), 422, "invalid")
    assert api.get("/api/v1/dead-letters?limit=100").status_code == 200


def test_a_list_of_one_project_takes_no_other_project(api: Api) -> None:
    for path in (BEADS, "/api/v1/projects/shop/dead-letters"):
        problem(api.get(f"{path}?project=shop"), 422, "invalid")


@pytest.mark.parametrize("key", ["", " ", "é", "x" * 256])
def test_an_idempotency_key_of_another_form_is_refused(api: Api, key: str) -> None:
    problem(api.post(BEADS, {"title": "x"}, {"Idempotency-Key": key}), 422, "invalid")


def test_an_idempotency_key_may_not_serve_two_requests() -> None:
    api = Api()
    headers = {"Idempotency-Key": "k"}
    api.post("/api/v1/projects", PROJECT, headers)

    answer = api.post("/api/v1/projects", PROJECT | {"id": "other"}, headers)

    problem(answer, 422, "idempotency_key_reused")
    assert [project.id for project in api.ledger.list_projects().items] == ["shop"]


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", "Basic YTpi", "a token", "Bearer a tokenx",
     "Bearer \xff\xfe"],
)  # fmt: skip
def test_a_call_without_the_token_is_refused_before_anything_else(
    api: Api, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    for path in ("/", "/api/v1/projects", "/nothing", "/healthz/", "/api/v1/beads/taken"):
        answer = api.client.get(path, headers=headers)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        problem(answer, 401, "unauthenticated")
    problem(api.client.post(BEADS, json={"title": "x"}, headers=headers), 401, "unauthenticated")


def test_an_unknown_address_or_method_is_told_by_a_document(api: Api) -> None:
    for path in ("/nothing", "/api/v1/projects/", "//api/v1/projects", "/api/v2/projects"):
        problem(api.get(path), 404, "not_found")
    answer = api.client.delete("/api/v1/projects", headers=BEARER)
    assert "POST" in answer.headers["Allow"]
    problem(answer, 405, "method_not_allowed")


class FailingLedger(FakeLedger):
    """Raises the same at each call."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def get_bead(self, bead_id: str) -> Any:
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (Unavailable("the database service cannot be reached"), 503, "unavailable", "2"),
        (DeadlineExceeded("no answer in time"), 504, "deadline", "1"),
        (Exhausted("too many at once"), 429, "exhausted", "1"),
        (Internal("UNKNOWN: Traceback of the secret"), 500, "internal", None),
        (KeyError("secret"), 500, "internal", None),
        # The ledger refuses the control plane itself: that is no business of the caller's token.
        (Forbidden("control may not do that: secret"), 500, "internal", None),
        (Unauthenticated("control has no token: secret"), 500, "internal", None),
    ],
)
def test_a_ledger_that_fails_is_told_without_its_insides(
    error: LoomError, status: int, code: str, retry_after: str | None
) -> None:
    client = make_app(FailingLedger(error)).test_client()

    answer = client.get("/api/v1/beads/x", headers=BEARER)

    document = problem(answer, status, code)
    assert answer.headers.get("Retry-After") == retry_after
    assert "secret" not in json.dumps(document)
    assert "WWW-Authenticate" not in answer.headers
