"""Asking for a way to work: over the HTTP API, and on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from control_api import PROJECT, Api
from test_cli_commands import Shell

from loom.domain import rulebook
from loom.errors import Invalid

ACTIONS = [
    {"type": "write_file", "path": "a/b", "content": "x", "mode": "755"},
    {"type": "run_command", "argv": ["make", "it"], "advisory": True},
    {"type": "file_bead", "title": "More", "context": {"hint": {"a": None}}},
    {"type": "git_commit"},
]


@pytest.fixture
def api() -> Api:
    """A Loom with one project."""
    made = Api()
    made.post("/api/v1/projects", PROJECT)
    return made


@pytest.fixture
def shell(api: Api) -> Shell:
    """The command line over it."""
    return Shell(api)


@pytest.mark.parametrize(
    "context",
    [
        {"way": "actions", "actions": ACTIONS},
        {"way": "my-own.way", "steps": ["verify", "commit"], "anything": [{"type": "rm"}]},
    ],
)
def test_the_ledger_gets_what_was_asked_for_as_it_came(api: Api, context: dict[str, Any]) -> None:
    assert api.file(context=context)["context"] == context


@pytest.mark.parametrize(
    ("context", "field"),
    [
        ({"way": ""}, "context.way"),
        ({"way": "../x"}, "context.way"),
        ({"way": 1}, "context.way"),
        ({"steps": []}, "context.steps"),
        ({"steps": "test"}, "context.steps"),
        ({"steps": ["test", "deploy"]}, "context.steps.1"),
        ({"actions": {}}, "context.actions"),
        ({"actions": []}, "context.actions"),
        ({"actions": [{"type": "rm"}]}, "context.actions.0"),
        ({"actions": [{"type": "note"}]}, "context.actions.0.note.text"),
        ({"actions": [ACTIONS[3], ACTIONS[0]]}, "context.actions"),
        (
            {"actions": [{"type": "write_file", "path": "../x", "content": ""}]},
            "context.actions.0.write_file.path",
        ),
    ],
)
def test_a_fault_in_what_is_asked_for_is_told_at_once(
    steady: Api, context: dict[str, Any], field: str
) -> None:
    answer = steady.post("/api/v1/projects/shop/beads", {"title": "x", "context": context})
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.get_json()["errors"]] == [field]


def filed(shell: Shell, *words: str) -> Any:
    return shell.document("bead", "file", "shop", "--title", "x", *words)["context"]


def test_a_way_is_asked_for_on_the_command_line(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "actions.json"
    file.write_text(json.dumps(ACTIONS))

    assert filed(shell, "--actions", str(file)) == {"actions": ACTIONS}
    assert filed(shell, "--verify") == {"way": "verify"}
    assert filed(shell, "--way", "my-own", "--context", '{"x": 1}') == {"way": "my-own", "x": 1}
    assert filed(shell, "--steps", "lint, test") == {"steps": ["lint", "test"]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--verify", "--way", "patch"), "--verify changes nothing"),
        (("--verify", "--actions", "FILE"), "--verify changes nothing"),
        (("--patch", "FILE", "--actions", "FILE"), "--patch and --actions"),
        (("--actions", "FILE"), "it is not JSON"),
        (("--steps", "test,deploy"), "'deploy' is not one of prepare, work"),
        (("--steps", ","), "names no step"),
    ],
)
def test_what_contradicts_itself_is_refused_before_it_is_sent(
    steady: Api, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    file = tmp_path / "file"
    file.write_text("[{")
    words = tuple(str(file) if word == "FILE" else word for word in words)
    result = Shell(steady).run("bead", "file", "shop", "--title", "x", *words)
    assert result.exit_code == 2
    assert said in result.output


def test_a_projects_command_is_checked_when_it_is_set() -> None:
    assert rulebook.read({"command": ["run", "{bead_file}"]}).command == ("run", "{bead_file}")
    with pytest.raises(Invalid, match="placeholder that nobody knows"):
        rulebook.read({"command": ["run", "{home}"]})
