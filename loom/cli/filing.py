"""`loom bead file`: file a bead."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import click

from loom.cli import output, profile, waiting, work
from loom.cli.known import BEAD, PROJECT
from loom.cli.moment import Moment
from loom.clients.representation import bead_to_json
from loom.domain.bead import NewBead
from loom.domain.project import MAX_ATTEMPTS

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.argument("project_id", metavar="PROJECT", type=PROJECT),
    click.option("--title", required=True, help="What is to be done, in one line."),
    click.option("--description", default="", help="What is to be done, at length."),
    work.options,
    click.option("--priority", type=click.IntRange(0, 3), default=2, help="0 (first) to 3."),
    click.option("--id", "bead_id", default="", help="An id of your own."),
    click.option(
        "--not-before", type=Moment(), help="When it may start, as 2026-05-01T09:00:00Z or 90m."
    ),
    click.option(
        "--blocked-by", type=BEAD, multiple=True, metavar="ID",
        help="A bead that has to succeed first.",
    ),
    click.option(
        "--parent", type=BEAD, default="", metavar="ID", help="A bead that waits for this one."
    ),
    click.option(
        "--max-attempts", type=click.IntRange(0, MAX_ATTEMPTS), default=0, help="In all."
    ),
)  # fmt: skip


def options(command: F) -> F:
    """Give a command what new() takes."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def new(
    *, title: str, description: str, priority: int, bead_id: str, not_before: datetime | None,
    blocked_by: tuple[str, ...], parent: str, max_attempts: int, **asked: Any,
) -> NewBead:  # fmt: skip
    """The bead that the options describe; a usage error where they contradict each other."""
    return NewBead(
        title=title,
        id=bead_id,
        description=description,
        context=work.context(**asked),
        priority=priority,
        not_before=not_before,
        blocked_by=blocked_by,
        parent=parent,
        max_attempts=max_attempts,
    )


@click.command()
@options
@click.option("--wait", is_flag=True, help="Wait for its end; exit code 1 unless it succeeded.")
@output.as_json_option
@click.pass_context
def file(
    ctx: click.Context, /, *, project_id: str, wait: bool, as_json: bool, **asked: Any
) -> None:
    """File a bead in PROJECT.

    \b
    loom bead file shop --title 'Mend the sum' --patch mend.diff --wait
    git diff | loom bead file shop --title 'What I have here' --patch -
    loom bead file shop --title 'Does it hold?' --verify --wait
    """
    wanted = new(**asked)
    with profile.current().client() as client:
        filed = client.create_bead(project_id, wanted)
        if wait:
            filed = waiting.follow(client, filed, waiting.teller(as_json))
    if as_json:
        output.as_json(bead_to_json(filed))
    elif wait:
        waiting.show(filed)
    else:
        click.echo(f"{filed.id} is filed: loom bead show {filed.id}")
    if wait and not output.succeeded(filed):
        ctx.exit(1)
