"""`loom project`: the repositories that Loom works on."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from loom.cli import comment, inspecting, output, profile, ruling
from loom.cli.argv import Argv
from loom.cli.credential import credential
from loom.cli.group import Group
from loom.cli.known import PROJECT
from loom.clients.representation import project_to_json
from loom.domain import rulebook
from loom.domain.project import (
    DEFAULT_QUEUE_WINDOW,
    DEFAULT_TIMEOUT_S,
    DEFAULT_WEIGHT,
    MAX_ATTEMPTS,
    MAX_IN_PROGRESS,
    MAX_WEIGHT,
    Project,
    ProjectChange,
)


@click.group(cls=Group)
def project() -> None:
    """Repositories that Loom works on."""


project.add_command(inspecting.inspect)
project.add_command(comment.of_project)


@project.command()
@click.argument("project_id", metavar="ID", type=PROJECT)
@click.argument("repository")
@click.option("--name", default="", help="A name for people.")
@click.option("--branch", default="main", show_default=True, help="The branch beads start from.")
@click.option(
    "--test", type=Argv(), default="", help="The command that proves a bead, e.g. 'pytest -q'."
)
@click.option("--timeout", default=DEFAULT_TIMEOUT_S, show_default=True, help="Seconds for it.")
@click.option(
    "--soft-timeout",
    type=click.IntRange(0),
    default=0,
    help="Seconds after which it is asked to end; 0: it is not asked.",
)
@click.option(
    "--queue-window",
    default=DEFAULT_QUEUE_WINDOW,
    show_default=True,
    help="Beads that may stand in its queue at once; the ledger keeps the order of the rest.",
)
@click.option(
    "--weight",
    type=click.IntRange(1, MAX_WEIGHT),
    default=DEFAULT_WEIGHT,
    show_default=True,
    help="Its share beside other projects.",
)
@click.option(
    "--max-in-progress",
    type=click.IntRange(0, MAX_IN_PROGRESS),
    default=0,
    help="Beads that may be in progress at once; 0: any number.",
)
@click.option(
    "--max-attempts",
    type=click.IntRange(0, MAX_ATTEMPTS),
    default=0,
    help="Attempts that a bead gets in all; 0: as many as each class of failure allows.",
)
@ruling.options
@output.as_json_option
def add(
    *, project_id: str, repository: str, name: str, branch: str, test: tuple[str, ...],
    timeout: int, soft_timeout: int, queue_window: int, weight: int, max_in_progress: int,
    max_attempts: int, as_json: bool, **rules: Any,
) -> None:  # fmt: skip
    """Add a project: its ID (a-z, 0-9 and '-') and its git REPOSITORY (a path, ssh or https).

    \b
    loom project add shop /srv/git/shop.git --test 'python3 -m unittest -q'
    """
    new = Project(
        id=project_id,
        repository=_absolute(repository),
        name=name,
        default_branch=branch,
        test_command=test,
        timeout_s=timeout,
        soft_timeout_s=soft_timeout,
        queue_window=queue_window,
        weight=weight,
        max_in_progress=max_in_progress,
        max_attempts=max_attempts,
        rules=rulebook.read(ruling.given(**rules)),
    )
    with profile.current().client() as client:
        made = client.create_project(new).items[0]
    if as_json:
        output.as_json(project_to_json(made))
    else:
        click.echo(f"project {made.id} is there: loom bead file {made.id} --title '…'")


@project.command("list")
@output.as_json_option
def list_all(as_json: bool) -> None:
    """Show every project.

    \b
    loom project list
    """
    found: list[Project] = []
    cursor = ""
    with profile.current().client() as client:
        while True:
            page = client.list_projects(cursor=cursor)
            found += page.items
            cursor = page.next_cursor
            if not cursor:
                break
    if as_json:
        output.as_json({"projects": [project_to_json(each) for each in found]})
        return
    output.table(
        ("id", "name", "repository", "branch", "test"),
        [
            (
                each.id,
                escape(each.name),
                escape(each.repository),
                escape(each.default_branch),
                escape(shlex.join(each.test_command)),
            )
            for each in found
        ],
    )


@project.command()
@click.argument("project_id", metavar="ID", type=PROJECT)
@output.as_json_option
def show(project_id: str, as_json: bool) -> None:
    """Show one project.

    \b
    loom project show shop
    """
    with profile.current().client() as client:
        found = client.get_project(project_id)
    if as_json:
        output.as_json(project_to_json(found))
        return
    output.facts(
        (
            ("id", found.id),
            ("name", escape(found.name)),
            ("repository", escape(found.repository)),
            ("branch", escape(found.default_branch)),
            ("test", escape(shlex.join(found.test_command))),
            ("timeout", f"{found.timeout_s} s"),
            ("queue window", str(found.queue_window)),
            ("state", output.coloured(found.state)),
            ("weight", str(found.weight)),
            ("at once", str(found.max_in_progress or "any number")),
            ("attempts", str(found.max_attempts or "as each class of failure allows")),
            *((name, escape(value)) for name, value in ruling.facts(found.rules)),
        )
    )


@project.command("set")
@click.argument("project_id", metavar="ID", type=PROJECT)
@click.option(
    "--weight", type=click.IntRange(1, MAX_WEIGHT), help="Its share beside other projects."
)
@click.option(
    "--max-in-progress",
    type=click.IntRange(0, MAX_IN_PROGRESS),
    help="Beads that may be in progress at once; 0: any number.",
)
@click.option(
    "--max-attempts",
    type=click.IntRange(0, MAX_ATTEMPTS),
    help="Attempts that a bead gets in all; 0: as many as each class of failure allows.",
)
@click.option(
    "--queue-window", type=click.IntRange(1), help="Beads that may stand in its queue at once."
)
@ruling.options
@output.as_json_option
def set_limits(
    *, project_id: str, weight: int | None, max_in_progress: int | None,
    max_attempts: int | None, queue_window: int | None, as_json: bool, **rules: Any,
) -> None:  # fmt: skip
    """Set a project's share, limits and rules; what is not named stays as it is.

    \b
    loom project set shop --max-in-progress 4 --limit memory=2G
    """
    change = ProjectChange(
        weight=weight,
        max_in_progress=max_in_progress,
        max_attempts=max_attempts,
        queue_window=queue_window,
        rules=ruling.given(**rules) or None,
    )
    if not change.given():
        raise click.UsageError("say what to set: see `loom project set --help`")
    _change(project_id, change, as_json=as_json)


@project.command()
@click.argument("project_id", metavar="ID", type=PROJECT)
@click.option("--name", help="A name for people.")
@click.option("--repository", help="What git clones: a path, ssh or https.")
@click.option("--branch", help="The branch beads start from.")
@click.option("--test", type=Argv(), help="The command that proves a bead; '' for none.")
@click.option("--timeout", type=click.IntRange(1), help="Seconds for it.")
@click.option("--soft-timeout", type=click.IntRange(0), help="Seconds after which it is asked to.")
@output.as_json_option
def edit(
    *, project_id: str, name: str | None, repository: str | None, branch: str | None,
    test: tuple[str, ...] | None, timeout: int | None, soft_timeout: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Edit what a project is; `loom project set` sets its share, limits and rules.

    \b
    loom project edit shop --branch trunk --test 'pytest -q'
    """
    change = ProjectChange(
        name=name,
        repository=None if repository is None else _absolute(repository),
        default_branch=branch,
        test_command=test,
        timeout_s=timeout,
        soft_timeout_s=soft_timeout,
    )
    if not change.given():
        raise click.UsageError("say what to change: see `loom project edit --help`")
    _change(project_id, change, as_json=as_json)


_why = click.option(
    "--reason", default="asked for at the command line", help="Why: it stands in the audit trail."
)


@project.command()
@click.argument("project_id", metavar="ID", type=PROJECT)
@_why
@output.as_json_option
def pause(project_id: str, reason: str, as_json: bool) -> None:
    """Let nothing of a project start; what runs goes on to its end.

    \b
    loom project pause shop --reason 'the tests lie'
    """
    _steer(project_id, "pause", reason, as_json=as_json)


@project.command()
@click.argument("project_id", metavar="ID", type=PROJECT)
@_why
@output.as_json_option
def drain(project_id: str, reason: str, as_json: bool) -> None:
    """Finish what was begun of a project, further attempts included; begin nothing else.

    \b
    loom project drain shop --reason 'release on Friday'
    """
    _steer(project_id, "drain", reason, as_json=as_json)


@project.command()
@click.argument("project_id", metavar="ID", type=PROJECT)
@_why
@output.as_json_option
def resume(project_id: str, reason: str, as_json: bool) -> None:
    """Let a paused or draining project go on.

    \b
    loom project resume shop
    """
    _steer(project_id, "resume", reason, as_json=as_json)


@project.command()
@click.argument("project_id", metavar="ID", type=PROJECT)
@click.option("--reason", required=True, help="Why: it stands in the audit trail.")
@output.as_json_option
def close(project_id: str, reason: str, as_json: bool) -> None:
    """Close a project: it takes no new beads, and nothing of it starts until it is reopened.

    \b
    loom project close shop --reason 'moved elsewhere'
    """
    _steer(project_id, "close", reason, as_json=as_json)


@project.command()
@click.argument("project_id", metavar="ID", type=PROJECT)
@_why
@output.as_json_option
def reopen(project_id: str, reason: str, as_json: bool) -> None:
    """Let a closed project go on.

    \b
    loom project reopen shop
    """
    _steer(project_id, "reopen", reason, as_json=as_json)


def _steer(project_id: str, act: str, reason: str, *, as_json: bool) -> None:
    with profile.current().client() as client:
        _told(client.steer_project(project_id, act, reason), as_json=as_json)


def _change(project_id: str, change: ProjectChange, *, as_json: bool) -> None:
    with profile.current().client() as client:
        _told(client.change_project(project_id, change), as_json=as_json)


def _told(changed: Project, *, as_json: bool) -> None:
    if as_json:
        output.as_json(project_to_json(changed))
        return
    click.echo(
        f"project {changed.id} is {changed.state}: weight {changed.weight}, "
        f"{changed.max_in_progress or 'any number of'} beads in progress at once"
    )


def _absolute(repository: str) -> str:
    """A folder of this machine by its whole path, since agents start elsewhere."""
    here = Path(repository).expanduser()
    if ":" not in repository and here.is_dir():
        return os.path.abspath(here)  # noqa: PTH100 - links stay as the user wrote them
    return repository


project.add_command(credential)
