"""Imports and exports over HTTP, and `loom bead import` and `loom bead export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from control_api import BEARER, PROJECT, Api, problem
from test_cli_commands import Shell, shell

from loom.cli import importing
from loom.control.imports import MAX_IMPORT_BYTES
from loom.domain.bead import MAX_BATCH

__all__ = ["shell"]

FILES = Path(__file__).parents[1] / "unit/imports"
HERE = "/api/v1/projects/shop/import"


@pytest.fixture
def api() -> Api:
    api = Api()
    api.post("/api/v1/projects", PROJECT)
    return api


def records(*ids: str) -> list[dict[str, Any]]:
    return [
        {"line": at, "record": {"id": id_, "title": f"Issue {id_}", "status": "open"}}
        for at, id_ in enumerate(ids, 1)
    ]


def test_records_are_imported_and_told_one_by_one(api: Api) -> None:
    body = {"from": "bd", "records": records("x-1", "x-2", "x-1")}
    told = api.post(HERE, body).get_json()
    assert told["counts"] == {
        "create": 2, "update": 0, "same": 0, "conflict": 0, "skip": 0, "invalid": 1,
    }  # fmt: skip
    assert told["results"][0] == {
        "line": 1, "action": "create", "external_id": "x-1", "bead_id": "x-1",
        "title": "Issue x-1", "changes": [], "remarks": [],
    }  # fmt: skip
    origin = api.get("/api/v1/beads/x-1/origin").get_json()
    assert (origin["source"], origin["external_id"], origin["status"]) == ("bd", "x-1", "open")


def test_a_dry_run_changes_nothing(api: Api) -> None:
    body = {"from": "bd", "records": records("x-1"), "dry_run": True}
    assert api.post(HERE, body).get_json()["dry_run"] is True
    problem(api.get("/api/v1/beads/x-1"), 404, "not_found")


@pytest.mark.parametrize(
    ("name", "source", "media"),
    [
        ("issues.jsonl", "bd", "application/x-ndjson"),
        ("github.json", "github", "text/plain"),
        ("backlog.csv", "csv", "text/csv"),
    ],
)
def test_a_file_is_imported_as_it_is_and_given_back(
    api: Api, name: str, source: str, media: str
) -> None:
    raw = (FILES / name).read_bytes()
    told = api.post_raw(f"{HERE}?from={source}", raw, media).get_json()
    assert told["counts"]["create"] >= 3
    assert told["counts"]["invalid"] == 0
    answer = api.get(f"/api/v1/projects/shop/export?format={source}")
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="shop.')
    again = api.post_raw(f"{HERE}?from={source}", answer.data, media).get_json()
    assert again["counts"]["same"] == told["counts"]["create"] == len(again["results"])


def test_a_line_of_a_file_that_cannot_be_read_is_told(api: Api) -> None:
    raw = b'{"id": "a", "title": "x"}\nnonsense\n'
    told = api.post_raw(f"{HERE}?from=bd", raw, "application/x-ndjson").get_json()
    assert [each["action"] for each in told["results"]] == ["create", "invalid"]


def test_an_import_that_breaks_a_rule_is_refused(api: Api) -> None:
    good = {"from": "bd", "records": records("x-1")}
    problem(api.post(HERE, good | {"from": "jira"}), 422, "invalid")
    problem(api.post(HERE, good | {"records": []}), 422, "invalid")
    problem(api.post(HERE, good | {"records": [{"line": 1, "record": 7}]}), 422, "invalid")
    many = records(*(f"x-{n}" for n in range(MAX_BATCH + 1)))
    problem(api.post(HERE, good | {"records": many}), 422, "invalid")
    problem(api.post_raw(HERE, b"{}", "application/x-ndjson"), 422, "invalid")
    problem(api.post_raw(f"{HERE}?from=bd", b"\xff", "text/csv"), 400, "bad_request")
    problem(api.post_raw(f"{HERE}?from=bd", b"x" * (MAX_IMPORT_BYTES + 1), "text/csv"), 413,
            "too_large")  # fmt: skip
    problem(api.post("/api/v1/projects/none/import", good), 404, "not_found")
    problem(api.get("/api/v1/projects/none/export"), 404, "not_found")
    problem(api.get("/api/v1/projects/shop/export?format=jira"), 422, "invalid")


def test_a_body_larger_than_that_of_other_routes_is_read(api: Api) -> None:
    long = records("x-1")
    long[0]["record"]["description"] = "x" * 300_000
    answer = api.post(HERE, {"from": "bd", "records": long})
    assert answer.get_json()["counts"]["create"] == 1


def test_a_bead_that_was_filed_here_came_from_nowhere(api: Api) -> None:
    problem(api.get(f"/api/v1/beads/{api.file()['id']}/origin"), 404, "not_found")


def test_an_empty_project_is_an_empty_file_of_its_kind(api: Api) -> None:
    found = {
        kind: api.client.get(f"/api/v1/projects/shop/export?format={kind}", headers=BEARER).text
        for kind in ("bd", "github", "loom", "csv")
    }
    assert (found["bd"], json.loads(found["github"]), found["loom"]) == ("", [], "")
    assert found["csv"].startswith("id,title,")


def test_the_command_line_shows_a_plan_and_carries_it_out(shell: Shell) -> None:
    file = str(FILES / "issues.jsonl")
    planned = shell.run("bead", "import", "shop", file, "--dry-run")
    assert planned.exit_code == 0, planned.output
    assert "would be: 4 create, 1 skip" in planned.stdout
    assert shell.document("bead", "list")["beads"] == []
    done = shell.run("bead", "import", "shop", file)
    assert "done: 4 create, 1 skip" in done.stdout
    again = shell.run("bead", "import", "shop", file)
    assert "done: 4 same, 1 skip" in again.stdout
    shown = shell.run("bead", "show", "shop-k3f").stdout
    assert "bd shop-k3f (open)" in shown
    assert "performance, cart" in shown
    why = shell.run("bead", "why", "shop-e.1").stdout
    assert "jonas has it in progress" in why


def test_the_command_line_gives_back_what_it_took(shell: Shell, tmp_path: Path) -> None:
    shell.run("bead", "import", "shop", str(FILES / "backlog.csv"))
    target = tmp_path / "out.csv"
    made = shell.run("bead", "export", "shop", "--format", "csv", "-o", str(target))
    assert made.exit_code == 0, made.output
    assert [each.name for each in tmp_path.iterdir()] == ["out.csv"]
    again = shell.run("bead", "import", "shop", str(target))
    assert "done: 3 same" in again.stdout
    piped = shell.run("bead", "export", "shop", "--format", "github")
    assert len(json.loads(piped.stdout)) == 3


def test_a_file_that_is_cut_into_parts_is_one_to_a_dry_run(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importing, "PART", 1)
    link = {"type": "blocks", "issue_id": "x", "created_at": "2025-01-01T00:00:00Z"}
    file = tmp_path / "issues.jsonl"
    ring = [("a", "c"), ("b", "a"), ("c", "b")]
    lines = [
        {"id": id_, "title": id_, "status": "open",
         "dependencies": [link | {"depends_on_id": other}]}
        for id_, other in ring
    ]  # fmt: skip
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    planned = shell.document("bead", "import", "shop", str(file), "--dry-run")
    remarks = [each["remarks"] for each in planned["results"]]  # type: ignore[index, attr-defined]
    assert [len(each) for each in remarks] == [0, 0, 1]
    assert "for ever" in remarks[2][0]
    shell.document("bead", "import", "shop", str(file))
    linked = {id_: shell.document("bead", "show", id_)["blocked_by"] for id_ in "abc"}
    assert sorted(len(ids) for ids in linked.values()) == [0, 1, 1]  # type: ignore[arg-type]
    again = shell.document("bead", "import", "shop", str(file))
    assert again["counts"]["same"] == 3  # type: ignore[index]


def test_the_command_line_says_what_a_file_lacks(shell: Shell, tmp_path: Path) -> None:
    nameless = shell.run("bead", "import", "shop", "-", input=b"{}")
    assert (nameless.exit_code, "--from" in nameless.output) == (2, True)
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("Ticket,Title\nT-1,One\n")
    refused = shell.run("bead", "import", "shop", str(sheet))
    assert (refused.exit_code, "--column id=HEADING" in refused.output) == (1, True)
    told = shell.run("bead", "import", "shop", str(sheet), "--column", "id=Ticket")
    assert (told.exit_code, "done: 1 create" in told.output) == (0, True)
    wrong = shell.run("bead", "import", "shop", "-", "--from", "bd", input=b'{"id": "a"}\nx\n')
    assert wrong.exit_code == 1
    assert "line 1 (no id): title has to be 1 to 500 characters" in wrong.output
    assert "line 2 (no id): is no JSON object" in wrong.output
    missing = shell.run("bead", "import", "shop", str(tmp_path / "none.csv"))
    assert (missing.exit_code, "cannot be read" in missing.output) == (3, True)
