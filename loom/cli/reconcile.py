"""`loom reconcile`: whether ledger and broker agree, and mending what does not."""

from __future__ import annotations

import click
from rich.markup import escape

from loom.cli import output, profile
from loom.clients.reconciliation import to_json
from loom.domain.reconciliation import MAX_GRACE_S, Depth, Reconciliation


@click.command()
@click.option("--repair", is_flag=True, help="Owe again what was lost, reopen what is stuck.")
@click.option(
    "--grace",
    "grace_s",
    type=click.FloatRange(0, MAX_GRACE_S),
    help="Seconds that a dispatched bead may wait before its message is looked for (60).",
)
@output.as_json_option
@click.pass_context
def reconcile(ctx: click.Context, *, repair: bool, grace_s: float | None, as_json: bool) -> None:
    """Compare ledger and broker, project by project.

    Exit code 1 when something is unaccounted for: a bead that neither would ever end. With
    --repair the numbers are those from before it, and the exit code is 1 when something is left.

    \b
    loom reconcile
    """
    with profile.current().client() as client:
        done = client.reconcile(repair=repair, grace_s=grace_s)
    if as_json:
        output.as_json(to_json(done))
    else:
        _show(done, repair=repair)
    if done.left:
        ctx.exit(1)


def _show(done: Reconciliation, *, repair: bool) -> None:
    output.table(
        ("project", "owed", "dispatched", "running", "ready", "unacked", "dead", "unaccounted"),
        [
            (
                each.held.project_id,
                str(each.held.owed),
                str(each.held.dispatched),
                str(each.held.running),
                *_counts(each.tasks),
                str(each.held.dead),
                f"[red]{each.unaccounted}[/]" if each.unaccounted else "0",
            )
            for each in done.accounts
        ],
    )
    for each in done.accounts:
        for difference in each.differences:
            click.echo(f"{each.held.project_id}: {escape(difference)}")
    click.echo(f"{done.unaccounted} unaccounted for")
    if repair:
        mended = done.mended
        click.echo(
            f"mended: {mended.reowed} owed again, {mended.reopened} reopened, "
            f"{mended.expired} leases ended"
        )
    elif done.unaccounted:
        click.echo("loom reconcile --repair mends it")


def _counts(depth: Depth | None) -> tuple[str, str]:
    if depth is None:
        return "?", "?"
    return str(depth.ready), "?" if depth.unacked is None else str(depth.unacked)
