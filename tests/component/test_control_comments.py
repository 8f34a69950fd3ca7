"""Comments over HTTP, and `loom bead comment` and `loom project comment`."""

from __future__ import annotations

import pytest
from control_api import BEARER, PROJECT, Api, problem
from test_cli_commands import Shell, shell

__all__ = ["shell"]


@pytest.fixture
def api() -> Api:
    api = Api()
    api.post("/api/v1/projects", PROJECT)
    return api


def test_a_comment_is_added_and_found_where_it_says(api: Api) -> None:
    bead = api.file()
    answer = api.post(f"/api/v1/beads/{bead['id']}/comments", {"text": "Look *here*."})
    assert answer.status_code == 201
    made = answer.get_json()
    assert (made["text"], made["bead_id"], made["source"]) == ("Look *here*.", bead["id"], "")
    assert answer.headers["Location"] == made["links"]["self"]
    listed = api.get(f"/api/v1/beads/{bead['id']}/comments").get_json()
    assert listed == {"comments": [made], "next_cursor": None}


def test_a_comment_on_a_project_is_edited_and_deleted_by_who_wrote_it(api: Api) -> None:
    made = api.post("/api/v1/projects/shop/comments", {"text": "Holdiays."}).get_json()
    here = made["links"]["self"]
    edited = api.client.patch(here, json={"text": "Holidays."}, headers=BEARER)
    assert edited.get_json()["text"] == "Holidays."
    deleted = api.client.delete(here, headers=BEARER)
    assert deleted.get_json()["text"] == ""
    again = api.client.delete(here, headers=BEARER)
    problem(again, 409, "illegal_transition")


def test_a_repeated_request_adds_one_comment(api: Api) -> None:
    key = {"Idempotency-Key": "k"}
    path = "/api/v1/projects/shop/comments"
    first, again = (api.post(path, {"text": "once"}, key) for _ in range(2))
    assert again.get_json() == first.get_json()
    assert again.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("wrong", [{}, {"text": ""}, {"text": "x" * 65_537}, {"text": 1}])
def test_a_comment_that_breaks_a_rule_is_refused(api: Api, wrong: dict[str, object]) -> None:
    problem(api.post("/api/v1/projects/shop/comments", wrong), 422, "invalid")


def test_a_comment_on_nothing_is_not_found(api: Api) -> None:
    problem(api.post("/api/v1/beads/bd-no/comments", {"text": "x"}), 404, "not_found")
    problem(api.get("/api/v1/projects/none/comments"), 404, "not_found")
    gone = api.client.delete("/api/v1/projects/shop/comments/cm-1", headers=BEARER)
    problem(gone, 404, "not_found")


def test_the_command_line_comments_and_shows_what_was_said(shell: Shell) -> None:
    bead = shell.document("bead", "file", "shop", "--title", "Mend it")["id"]
    assert shell.run("bead", "comment", str(bead), "first", "[words]").exit_code == 0
    piped = shell.run("bead", "comment", str(bead), "-", input=b"from\na pipe\n")
    assert piped.exit_code == 0, piped.output
    shown = shell.run("bead", "comment", str(bead)).stdout
    assert "first [words]" in shown
    assert "  a pipe" in shown
    whole = shell.run("bead", "show", str(bead)).stdout
    assert "comments: 2" in whole
    assert [c["text"] for c in shell.document("bead", "show", str(bead))["comments"]] == [  # type: ignore[index, attr-defined]
        "first [words]", "from\na pipe\n",
    ]  # fmt: skip


def test_the_command_line_comments_on_projects(shell: Shell) -> None:
    assert "nobody has said" in shell.run("project", "comment", "shop").stdout
    shell.run("project", "comment", "shop", "Paused over the holidays.")
    assert "Paused over the holidays." in shell.run("project", "comment", "shop").stdout
