"""`loom bead comment` and `loom project comment`: say something, and read what was said."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click
from rich.markup import escape

from loom.cli import output, profile
from loom.cli.known import BEAD, PROJECT
from loom.clients.answers import every
from loom.clients.commenting import comment_to_json
from loom.clients.control import ControlClient
from loom.domain.comment import Comment
from loom.domain.identity import new_message_id

SHOWN = 5
"""Comments that `loom bead show` prints: the last ones."""


def _text(words: tuple[str, ...]) -> str:
    if words == ("-",):
        return sys.stdin.read()
    return " ".join(words)


@click.command()
@click.argument("bead_id", metavar="ID", type=BEAD)
@click.argument("words", metavar="[TEXT|-]", nargs=-1)
@output.as_json_option
def comment(bead_id: str, words: tuple[str, ...], as_json: bool) -> None:
    """Comment on a bead; without TEXT, show the comments on it. -: read standard input.

    \b
    loom bead comment bd-1 'It fails on Tuesdays, see the log of attempt 3.'
    git log -1 | loom bead comment bd-1 -
    """
    with profile.current().client() as client:
        _comment(client, words, as_json, bead_id=bead_id)


@click.command("comment")
@click.argument("project_id", metavar="PROJECT", type=PROJECT)
@click.argument("words", metavar="[TEXT|-]", nargs=-1)
@output.as_json_option
def of_project(project_id: str, words: tuple[str, ...], as_json: bool) -> None:
    """Comment on a project; without TEXT, show the comments on it. -: read standard input.

    \b
    loom project comment shop 'Paused over the holidays.'
    """
    with profile.current().client() as client:
        _comment(client, words, as_json, project_id=project_id)


def _comment(
    client: ControlClient, words: tuple[str, ...], as_json: bool, project_id: str = "",
    bead_id: str = "",
) -> None:  # fmt: skip
    on = {"project_id": project_id, "bead_id": bead_id}
    if words:
        (made,) = client.add_comment(_text(words), idempotency_key=new_message_id(), **on).items
        if as_json:
            output.as_json(comment_to_json(made))
        else:
            click.echo(f"{made.id} is added to {bead_id or project_id}")
        return
    found = list(every(lambda cursor: client.list_comments(limit=200, cursor=cursor, **on)))
    if as_json:
        output.as_json({"comments": [*map(comment_to_json, found)]})
    elif not found:
        click.echo(f"nobody has said anything of {bead_id or project_id} yet")
    else:
        show(found)


def of_bead(client: ControlClient, bead_id: str) -> list[Comment]:
    """Every comment on a bead, oldest first."""
    return list(
        every(lambda cursor: client.list_comments(bead_id=bead_id, limit=200, cursor=cursor))
    )


def show(found: Iterable[Comment]) -> None:
    """Print comments, each under a line that says who and when."""
    console = output.console()
    for each in found:
        marks = [f"{output.age(each.created_at)} ago"]
        if each.source:
            marks.append(f"imported from {each.source}")
        if each.edited_at:
            marks.append("edited")
        console.print(f"[bold]{escape(each.author)}[/] [dim]{escape(', '.join(marks))}[/]")
        for line in (each.text if each.deleted_at is None else "(deleted)").splitlines():
            console.print(f"  {escape(line)}", soft_wrap=True)


def show_last(found: list[Comment]) -> None:
    """Print the last comments, and how many there are before them."""
    if not found:
        return
    click.echo(f"\ncomments: {len(found)}")
    if len(found) > SHOWN:
        click.echo(f"the last {SHOWN}; `loom bead comment {found[0].bead_id}` shows all of them")
    show(found[-SHOWN:])
