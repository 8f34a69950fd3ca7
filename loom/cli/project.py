"""`loom project`: the repositories that Loom works on."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click
from rich.markup import escape

from loom.cli import output, profile
from loom.cli.argv import Argv
from loom.clients.representation import project_to_json
from loom.domain.project import DEFAULT_QUEUE_WINDOW, DEFAULT_TIMEOUT_S, Project


@click.group()
def project() -> None:
    """Repositories that Loom works on."""


@project.command()
@click.argument("project_id", metavar="ID")
@click.argument("repository")
@click.option("--name", default="", help="A name for people.")
@click.option("--branch", default="main", show_default=True, help="The branch beads start from.")
@click.option(
    "--test", type=Argv(), default="", help="The command that proves a bead, e.g. 'pytest -q'."
)
@click.option("--timeout", default=DEFAULT_TIMEOUT_S, show_default=True, help="Seconds for it.")
@click.option(
    "--queue-window",
    default=DEFAULT_QUEUE_WINDOW,
    show_default=True,
    help="Beads that may stand in its queue at once; the ledger keeps the order of the rest.",
)
@output.as_json_option
def add(
    *, project_id: str, repository: str, name: str, branch: str, test: tuple[str, ...],
    timeout: int, queue_window: int, as_json: bool,
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
        queue_window=queue_window,
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
    """Show every project."""
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
@click.argument("project_id", metavar="ID")
@output.as_json_option
def show(project_id: str, as_json: bool) -> None:
    """Show one project."""
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
        )
    )


def _absolute(repository: str) -> str:
    """A folder of this machine by its whole path, since agents start elsewhere."""
    here = Path(repository).expanduser()
    if ":" not in repository and here.is_dir():
        return os.path.abspath(here)  # noqa: PTH100 - links stay as the user wrote them
    return repository
