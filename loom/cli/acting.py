"""What a person does to one bead: the acts of `loom bead`."""

from __future__ import annotations

import click

from loom.cli import output, profile
from loom.clients.representation import bead_to_json
from loom.domain.bead import Bead, NewBead

_reason = click.option("--reason", required=True, help="Why: it stands in the audit trail.")


@click.command()
@click.argument("bead_id", metavar="ID")
@_reason
@output.as_json_option
def cancel(bead_id: str, reason: str, as_json: bool) -> None:
    """Give a bead up: a queued one never starts, a running one is stopped."""
    with profile.current().client() as client:
        _told(client.cancel_bead(bead_id, reason), as_json)


@click.command()
@click.argument("bead_id", metavar="ID")
@_reason
@output.as_json_option
def unblock(bead_id: str, reason: str, as_json: bool) -> None:
    """Let a blocked bead go on, its spent budgets forgiven."""
    with profile.current().client() as client:
        _told(client.unblock_bead(bead_id, reason), as_json)


@click.command()
@click.argument("bead_id", metavar="ID")
@output.as_json_option
def refile(bead_id: str, as_json: bool) -> None:
    """File the work of a bead anew, waiting for nothing: a closed bead never moves again."""
    with profile.current().client() as client:
        old = client.get_bead(bead_id)
        new = NewBead(
            title=old.title,
            description=old.description,
            context=old.context,
            priority=old.priority,
            max_attempts=old.max_attempts,
        )
        filed = client.create_bead(old.project_id, new)
    if as_json:
        output.as_json(bead_to_json(filed))
    else:
        click.echo(f"{filed.id} is filed: loom bead show {filed.id}")


def _told(changed: Bead, as_json: bool) -> None:
    if as_json:
        output.as_json(bead_to_json(changed))
    else:
        click.echo(f"{changed.id} is {output.state_of(changed)}")
