"""Every command of `loom` teaches by its help, speaks JSON, and ends with a code that tells why."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from loom.cli import cli, exits
from loom.errors import LoomError

IN_A_FORMAT_OF_THEIR_OWN = {
    "loom api": "the description is JSON already",
    "loom audit export": "its lines are JSON already",
    "loom bead artifact get": "it writes the file as it is",
    "loom bead export": "--format says what it writes",
    "loom completion": "a shell reads it",
}


def leaves(
    command: click.Command, path: str, parent: click.Context | None
) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command, info_name=path, parent=parent)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None, name
            yield from leaves(found, f"{path} {name}", context)
        if not command.invoke_without_command:
            return
    yield path, command


LEAVES = dict(leaves(cli, "loom", None))


@pytest.mark.parametrize("path", LEAVES)
def test_every_command_teaches_by_an_example_and_speaks_json(path: str) -> None:
    command = LEAVES[path]
    assert f"{path} " in f"{command.help} ".replace("\n", " "), "its --help has no example"
    assert "\b" in (command.help or ""), "the example is not on a line of its own"
    options = {name for each in command.params for name in each.opts}
    assert ("--json" in options) is (path not in IN_A_FORMAT_OF_THEIR_OWN)


def test_every_group_and_verb_of_the_desk_is_there() -> None:
    verbs = {
        "project": "add list show edit set pause drain resume close reopen inspect comment",
        "bead": "file run list show logs why where cancel retry unblock import export attempts",
        "agent": "list show start drain resume stop",
        "queue": "list show",
        "dlq": "ls show replay discard groups replays",
        "event": "list tail",
        "token": "create list revoke show",
        "user": "add list grant revoke disable enable",
        "audit": "verify export",
        "profile": "add list use remove",
    }
    for group, names in verbs.items():
        for name in names.split():
            assert f"loom {group} {name}" in LEAVES
    assert {"loom status", "loom doctor", "loom reconcile", "loom drill"} <= set(LEAVES)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("not_found", 3), ("forbidden", 4), ("unauthenticated", 4), ("unavailable", 5),
        ("deadline", 5), ("exhausted", 5), ("conflict", 1), ("invalid", 1), ("internal", 1),
    ],
)  # fmt: skip
def test_the_exit_code_tells_the_kind_of_trouble(error: str, code: int) -> None:
    kind = type("Kind", (LoomError,), {"code": error})
    assert exits.failed(kind("said")).exit_code == code
