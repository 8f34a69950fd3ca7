"""`loom bead`: file beads and follow them."""

from __future__ import annotations

from datetime import datetime

import click

from loom.cli import (
    acting,
    artifact,
    comment,
    evidence,
    filing,
    importing,
    listing,
    livelog,
    output,
    profile,
    running,
    waiting,
    whereabouts,
    work,
)
from loom.cli.group import Group
from loom.cli.known import BEAD
from loom.cli.moment import Moment
from loom.clients.commenting import comment_to_json
from loom.clients.representation import attempt_to_json, bead_to_json, why_to_json
from loom.domain.bead import Amendment
from loom.domain.priority import MAX_PRIORITY
from loom.domain.project import MAX_ATTEMPTS


@click.group(cls=Group)
def bead() -> None:
    """Units of work: file them, follow them."""


for _act in (
    listing.list_some, acting.cancel, acting.unblock, acting.retry, acting.refile, acting.priority,
    acting.claim, acting.release, acting.depend, livelog.logs, artifact.list_artifacts,
    artifact.artifact, comment.comment, importing.bring_in, importing.give_back,
    filing.file, running.run, whereabouts.where,
):  # fmt: skip
    bead.add_command(_act)


@bead.command()
@click.argument("bead_id", metavar="ID", type=BEAD)
@click.option("--wait", is_flag=True, help="Wait for its end; exit code 1 unless it succeeded.")
@output.as_json_option
@click.pass_context
def show(ctx: click.Context, bead_id: str, wait: bool, as_json: bool) -> None:
    """Show one bead, with the evidence of its last attempt; --json has that of all of them.

    \b
    loom bead show bd-1
    loom bead show bd-1 --wait --json
    """
    with profile.current().client() as client:
        found = client.get_bead(bead_id)
        if wait:
            found = waiting.follow(client, found, waiting.teller(as_json))
        tries = client.list_attempts(bead_id)
        said = comment.of_bead(client, bead_id)
        origin = importing.origin_of(client, bead_id)
    if as_json:
        output.as_json(
            bead_to_json(found)
            | {"attempts": [*map(attempt_to_json, tries)]}
            | {"comments": [*map(comment_to_json, said)], "origin": origin}
        )
    else:
        waiting.show(found, importing.facts(origin))
        for last in tries[-1:]:
            click.echo()
            evidence.show(last, outputs=False)
        comment.show_last(said)
    if wait and not output.succeeded(found):
        ctx.exit(1)


@bead.command()
@click.argument("bead_id", metavar="ID", type=BEAD)
@output.as_json_option
def attempts(bead_id: str, as_json: bool) -> None:
    """Show every try at a bead, with the evidence of each step.

    \b
    loom bead attempts bd-1
    """
    with profile.current().client() as client:
        found = client.list_attempts(bead_id)
    if as_json:
        output.as_json({"attempts": [attempt_to_json(each) for each in found]})
        return
    if not found:
        click.echo(f"no agent has tried {bead_id} yet")
    for each in found:
        evidence.show(each)


@bead.command()
@click.argument("bead_id", metavar="ID", type=BEAD)
@output.as_json_option
def why(bead_id: str, as_json: bool) -> None:
    """Say why a bead is not running, and what would make it run.

    \b
    loom bead why bd-1
    """
    with profile.current().client() as client:
        found = client.explain_bead(bead_id)
    if as_json:
        output.as_json(why_to_json(found))
        return
    for reason in found.reasons:
        click.echo(f"{found.bead_id}: {reason.sentence} ({reason.code})")
        click.echo(f"  {reason.remedy}")


@bead.command()
@click.argument("bead_id", metavar="ID", type=BEAD)
@click.option("--title", help="What is to be done, in one line.")
@click.option("--description", help="What is to be done, at length.")
@click.option("--context", help="A JSON object for the agent, instead of the one it has.")
@click.option("--priority", type=click.IntRange(0, MAX_PRIORITY), help="0 (first) to 3.")
@click.option(
    "--not-before", type=Moment(), help="When it may start, as 2026-05-01T09:00:00Z or 90m."
)
@click.option("--now", is_flag=True, help="It may start at once.")
@click.option(
    "--blocked-by", type=BEAD, multiple=True, metavar="ID", help="It waits for that one too."
)
@click.option("--not-blocked-by", multiple=True, metavar="ID", help="It waits for it no more.")
@click.option("--parent", type=BEAD, metavar="ID", help="A bead that waits for this one.")
@click.option("--no-parent", is_flag=True, help="No bead waits for this one as its parent.")
@click.option("--max-attempts", type=click.IntRange(0, MAX_ATTEMPTS), help="In all.")
@output.as_json_option
def edit(
    *, bead_id: str, title: str | None, description: str | None, context: str | None,
    priority: int | None, not_before: datetime | None, now: bool, blocked_by: tuple[str, ...],
    not_blocked_by: tuple[str, ...], parent: str | None, no_parent: bool,
    max_attempts: int | None, as_json: bool,
) -> None:  # fmt: skip
    """Edit a bead that has not begun: its words, what it waits for, its place in the order.

    \b
    loom bead edit bd-1 --title 'Mend the sum' --priority 0
    """
    with profile.current().client() as client:
        before = client.get_bead(bead_id)
        blockers: tuple[str, ...] | None = None
        if blocked_by or not_blocked_by:
            wanted = dict.fromkeys((*before.blocked_by, *blocked_by))
            blockers = tuple(id_ for id_ in wanted if id_ not in not_blocked_by)
        amendment = Amendment(
            priority=priority,
            max_attempts=max_attempts,
            blocked_by=blockers,
            parent="" if no_parent else parent,
            not_before=not_before,
            due_now=now,
            title=title,
            description=description,
            context=None if context is None else work.as_json(context, dict, "--context"),
        )
        if amendment == Amendment():
            raise click.UsageError("say what to change: see `loom bead edit --help`")
        changed = client.amend_bead(bead_id, amendment, before.version)
    if as_json:
        output.as_json(bead_to_json(changed))
    else:
        click.echo(f"{changed.id} is changed: loom bead why {changed.id}")
