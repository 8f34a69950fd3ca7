"""What people do at their desk by the command line, over the real API in this process."""

from __future__ import annotations

import json

import pytest
from control_api import PROJECT, Api
from test_cli_commands import Shell


@pytest.fixture
def shell() -> Shell:
    """A shell over a Loom with one project."""
    api = Api()
    api.post("/api/v1/projects", PROJECT)
    return Shell(api)


def test_a_project_is_edited_closed_and_reopened(shell: Shell) -> None:
    words = ("--name", "Shop", "--branch", "trunk", "--test", "make test", "--timeout", "60")
    edited = shell.document("project", "edit", "shop", *words)
    assert (edited["name"], edited["default_branch"], edited["timeout_s"]) == ("Shop", "trunk", 60)
    assert edited["test_command"] == ["make", "test"]
    assert shell.document("project", "edit", "shop", "--test", "")["test_command"] == []

    assert shell.run("project", "close", "shop").exit_code == 2
    assert shell.document("project", "close", "shop", "--reason", "over")["state"] == "closed"
    refused = shell.run("bead", "file", "shop", "--title", "x")
    assert (refused.exit_code, "reopen" in refused.output) == (1, True)
    assert shell.document("project", "reopen", "shop")["state"] == "active"
    for act, state in (("pause", "paused"), ("drain", "draining"), ("resume", "active")):
        assert shell.document("project", act, "shop")["state"] == state


def test_a_bead_is_edited_taken_released_and_linked(shell: Shell) -> None:
    first, second = shell.api.file()["id"], shell.api.file()["id"]
    words = ("--title", "Other", "--description", "more", "--context", '{"hint": 1}')

    assert shell.document("bead", "edit", first, *words)["context"] == {"hint": 1}
    assert shell.document("bead", "claim", first)["assignee"] == "operator"
    assert "taken by operator" in shell.run("bead", "claim", first).stdout
    assert shell.document("bead", "release", first)["assignee"] is None
    assert shell.document("bead", "claim", first, "--for", "bob")["assignee"] == "bob"
    assert shell.document("bead", "depend", second, "--on", first)["blocked_by"] == [first]
    assert "waits for no bead" in shell.run("bead", "depend", second, "--not-on", first).stdout
    assert shell.run("bead", "depend", second).exit_code == 2
    assert shell.run("bead", "edit", first, "--context", "[1]").exit_code == 2


def test_acts_on_many_print_what_became_of_each_and_fail_if_one_was_refused(shell: Shell) -> None:
    first, second = shell.api.file()["id"], shell.api.file()["id"]

    done = shell.document("bead", "priority", "0", first, second)
    assert done["done"] == 2
    tried = shell.document("bead", "cancel", first, second, "--reason", "no", "--dry-run")
    assert tried["done"] == 2
    assert shell.document("bead", "show", first)["state"] == "open"
    assert shell.run("bead", "cancel", first, second, "--reason", "no").exit_code == 0
    refused = shell.run("bead", "retry", first, "bd-none", "--reason", "no")
    assert refused.exit_code == 1
    assert "never moves again" in refused.stdout
    assert "there is no bead bd-none" in refused.stdout


def test_a_list_is_filtered_and_sorted(shell: Shell) -> None:
    for title, priority in (("one", 2), ("two", 0)):
        shell.api.file(title=title, priority=priority)

    def titles(*words: str) -> list[str]:
        return [bead["title"] for bead in shell.document("bead", "list", *words)["beads"]]  # type: ignore[attr-defined]

    assert titles("--sort", "priority") == ["two", "one"]
    # No id has an o: what is asked for is found in titles alone.
    assert titles("-q", "WO", "--created-since", "5m", "--project", "shop") == ["two"]
    assert titles("--updated-since", "2120-01-01T00:00:00Z") == []
    assert shell.run("bead", "list", "--created-since", "then").exit_code == 2


def test_the_description_of_the_api_is_printed(shell: Shell) -> None:
    assert json.loads(shell.run("api").stdout)["openapi"].startswith("3.1")
    assert "POST   /api/v1/beads/bulk  " in shell.run("api", "--routes").stdout
