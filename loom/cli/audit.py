"""`loom audit`: who did what, and why."""

from __future__ import annotations

import json

import click
from rich.markup import escape

from loom.cli import output, profile
from loom.clients.trail import audit_line_to_json


@click.command()
@click.option("--target", default="", help="What was done to one bead, letter or group.")
@click.option("--action", default="", help="As bead.cancel or dead_letter.replay.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--cursor", default="", help="From the end of an earlier list.")
@output.as_json_option
def audit(*, target: str, action: str, limit: int, cursor: str, as_json: bool) -> None:
    """Show what people did to beads and dead letters, newest first."""
    with profile.current().client() as client:
        page = client.list_audit(target, action, limit, cursor)
    if as_json:
        lines = [audit_line_to_json(each) for each in page.items]
        output.as_json({"lines": lines, "next_cursor": page.next_cursor or None})
        return
    output.table(
        ("when", "who", "what", "to", "why", "detail"),
        [
            (
                output.age(each.at),
                escape(each.actor),
                escape(each.action),
                escape(each.target),
                escape(each.reason),
                escape(json.dumps(dict(each.detail))),
            )
            for each in page.items
        ],
    )
    if page.next_cursor:
        click.echo(f"There are more: --cursor {page.next_cursor}")
