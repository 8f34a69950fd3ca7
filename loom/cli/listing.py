"""`loom bead list`: beads by what they have in common, in the order that is asked for."""

from __future__ import annotations

from datetime import datetime

import click
from rich.markup import escape

from loom.cli import output, profile
from loom.cli.known import BEAD, PROJECT
from loom.cli.moment import ago
from loom.clients.representation import bead_to_json
from loom.domain.lifecycle import Resolution, State
from loom.domain.listing import BeadFilter, BeadSort
from loom.domain.priority import MAX_PRIORITY

_SINCE = "As 2026-05-01T09:00:00Z, or 90m for the last 90 minutes."


@click.command("list")
@click.option("--project", "project_ids", type=PROJECT, multiple=True, help="Of that project.")
@click.option(
    "--state", "states", multiple=True, type=click.Choice([s.value for s in State]), help="In it."
)
@click.option("--resolution", type=click.Choice([r.value for r in Resolution]), help="So ended.")
@click.option(
    "--priority", "priorities", multiple=True, type=click.IntRange(0, MAX_PRIORITY), help="Of it."
)
@click.option("--parent", type=BEAD, default="", metavar="ID", help="Children of that bead.")
@click.option("-q", "--text", default="", help="With that text in the title or the id.")
@click.option("--reason", default="", help="With that text in why it is blocked, or failed.")
@click.option("--assignee", default="", metavar="NAME", help="Taken by hand by that person.")
@click.option("--agent", default="", metavar="NAME", help="That agent works at it.")
@click.option("--created-since", callback=ago, help=_SINCE)
@click.option("--updated-since", callback=ago, help=_SINCE)
@click.option(
    "--sort", type=click.Choice([s.value for s in BeadSort]), default=BeadSort.NEWEST.value,
    show_default=True, help="The order; '-' for the greatest first.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--cursor", default="", help="From the end of an earlier list.")
@output.as_json_option
def list_some(
    *, project_ids: tuple[str, ...], states: tuple[str, ...], resolution: str | None,
    priorities: tuple[int, ...], parent: str, text: str, reason: str, assignee: str, agent: str,
    created_since: datetime | None, updated_since: datetime | None, sort: str, limit: int,
    cursor: str, as_json: bool,
) -> None:  # fmt: skip
    """Show beads, newest first.

    \b
    loom bead list --state blocked --reason disk --sort updated
    loom bead list -q checkout --updated-since 2h
    """
    one = project_ids[0] if len(project_ids) == 1 else ""
    where = BeadFilter(
        projects=() if one else project_ids,
        states=states,
        resolution=resolution or "",
        priorities=priorities,
        parent=parent,
        text=text,
        reason=reason,
        assignee=assignee,
        agent=agent,
        created_since=created_since,
        updated_since=updated_since,
    )
    with profile.current().client() as client:
        page = client.list_beads(one, limit=limit, cursor=cursor, where=where, sort=BeadSort(sort))
    if as_json:
        beads = [bead_to_json(each) for each in page.items]
        output.as_json({"beads": beads, "next_cursor": page.next_cursor or None})
        return
    output.table(
        ("id", "project", "state", "p", "age", "title"),
        [
            (
                each.id,
                each.project_id,
                output.coloured(output.state_of(each))
                + (f" ({escape(each.assignee)})" if each.assignee else ""),
                str(each.priority),
                output.age(each.created_at),
                escape(each.title),
            )
            for each in page.items
        ],
    )
    if page.next_cursor:
        click.echo(f"There are more: --cursor {page.next_cursor}")
