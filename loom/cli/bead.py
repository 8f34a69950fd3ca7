"""`loom bead`: file beads and follow them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import click
from rich.markup import escape

from loom.cli import (
    acting,
    artifact,
    comment,
    evidence,
    importing,
    listing,
    livelog,
    output,
    profile,
    work,
)
from loom.cli.moment import Moment
from loom.clients.commenting import comment_to_json
from loom.clients.control import ControlClient
from loom.clients.representation import attempt_to_json, bead_to_json, why_to_json
from loom.domain.bead import Amendment, Bead, NewBead
from loom.domain.lifecycle import State
from loom.domain.priority import MAX_PRIORITY
from loom.domain.project import MAX_ATTEMPTS
from loom.errors import DeadlineExceeded, Unavailable

SETTLED = frozenset({State.CLOSED, State.BLOCKED})
"""States in which nothing more happens by itself."""
LOOK_EVERY_S = 0.2
PATIENCE_S = 30.0


@click.group()
def bead() -> None:
    """Units of work: file them, follow them."""


for _act in (
    listing.list_some, acting.cancel, acting.unblock, acting.retry, acting.refile, acting.priority,
    acting.claim, acting.release, acting.depend, livelog.logs, artifact.list_artifacts,
    artifact.artifact, comment.comment, importing.bring_in, importing.give_back,
):  # fmt: skip
    bead.add_command(_act)


@bead.command()
@click.argument("project_id", metavar="PROJECT")
@click.option("--title", required=True, help="What is to be done, in one line.")
@click.option("--description", default="", help="What is to be done, at length.")
@work.options
@click.option("--priority", type=click.IntRange(0, 3), default=2, help="0 (first) to 3.")
@click.option("--id", "bead_id", default="", help="An id of your own.")
@click.option(
    "--not-before", type=Moment(), help="When it may start, as 2026-05-01T09:00:00Z or 90m."
)
@click.option("--blocked-by", multiple=True, metavar="ID", help="A bead that has to succeed first.")
@click.option("--parent", default="", metavar="ID", help="A bead that waits for this one.")
@click.option("--max-attempts", type=click.IntRange(0, MAX_ATTEMPTS), default=0, help="In all.")
@click.option("--wait", is_flag=True, help="Wait for its end; exit code 1 unless it succeeded.")
@output.as_json_option
@click.pass_context
def file(
    ctx: click.Context, /, *, project_id: str, title: str, description: str, priority: int,
    bead_id: str, not_before: datetime | None, blocked_by: tuple[str, ...], parent: str,
    max_attempts: int, wait: bool, as_json: bool, **asked: Any,
) -> None:  # fmt: skip
    """File a bead in PROJECT.

    \b
    loom bead file shop --title 'Mend the sum' --patch mend.diff --wait
    git diff | loom bead file shop --title 'What I have here' --patch -
    loom bead file shop --title 'Does it hold?' --verify --wait
    """
    new = NewBead(
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
    with profile.current().client() as client:
        filed = client.create_bead(project_id, new)
        if wait:
            filed = follow(client, filed, _teller(as_json))
    if as_json:
        output.as_json(bead_to_json(filed))
    elif wait:
        _show(filed)
    else:
        click.echo(f"{filed.id} is filed: loom bead show {filed.id}")
    if wait and not output.succeeded(filed):
        ctx.exit(1)


@bead.command()
@click.argument("bead_id", metavar="ID")
@click.option("--wait", is_flag=True, help="Wait for its end; exit code 1 unless it succeeded.")
@output.as_json_option
@click.pass_context
def show(ctx: click.Context, bead_id: str, wait: bool, as_json: bool) -> None:
    """Show one bead, with the evidence of its last attempt; --json has that of all of them."""
    with profile.current().client() as client:
        found = client.get_bead(bead_id)
        if wait:
            found = follow(client, found, _teller(as_json))
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
        _show(found, importing.facts(origin))
        for last in tries[-1:]:
            click.echo()
            evidence.show(last, outputs=False)
        comment.show_last(said)
    if wait and not output.succeeded(found):
        ctx.exit(1)


@bead.command()
@click.argument("bead_id", metavar="ID")
@output.as_json_option
def attempts(bead_id: str, as_json: bool) -> None:
    """Show every try at a bead, with the evidence of each step."""
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
@click.argument("bead_id", metavar="ID")
@output.as_json_option
def why(bead_id: str, as_json: bool) -> None:
    """Say why a bead is not running, and what would make it run."""
    with profile.current().client() as client:
        found = client.explain_bead(bead_id)
    if as_json:
        output.as_json(why_to_json(found))
        return
    for reason in found.reasons:
        click.echo(f"{found.bead_id}: {reason.sentence} ({reason.code})")
        click.echo(f"  {reason.remedy}")


@bead.command()
@click.argument("bead_id", metavar="ID")
@click.option("--title", help="What is to be done, in one line.")
@click.option("--description", help="What is to be done, at length.")
@click.option("--context", help="A JSON object for the agent, instead of the one it has.")
@click.option("--priority", type=click.IntRange(0, MAX_PRIORITY), help="0 (first) to 3.")
@click.option(
    "--not-before", type=Moment(), help="When it may start, as 2026-05-01T09:00:00Z or 90m."
)
@click.option("--now", is_flag=True, help="It may start at once.")
@click.option("--blocked-by", multiple=True, metavar="ID", help="It waits for that one too.")
@click.option("--not-blocked-by", multiple=True, metavar="ID", help="It waits for it no more.")
@click.option("--parent", metavar="ID", help="A bead that waits for this one.")
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


def follow(client: ControlClient, filed: Bead, tell: Callable[[Bead], None]) -> Bead:
    """The bead as it is once nothing more happens to it by itself; tell gets each change.

    A Loom that is away for less than PATIENCE_S is waited for; raises what it says after that.
    """
    last = filed
    tell(last)
    heard = time.monotonic()
    while last.state not in SETTLED:
        time.sleep(LOOK_EVERY_S)
        try:
            now = client.get_bead(filed.id)
        except (Unavailable, DeadlineExceeded):
            if time.monotonic() - heard > PATIENCE_S:
                raise
            continue
        heard = time.monotonic()
        if (now.state, now.epoch) != (last.state, last.epoch):
            tell(now)
        last = now
    return last


def _teller(as_json: bool) -> Callable[[Bead], None]:
    """Tells changes on standard error, unless a program reads."""

    def tell(bead: Bead) -> None:
        if not as_json:
            click.echo(f"{bead.id} {output.state_of(bead)}", err=True)

    return tell


def _show(found: Bead, more: Sequence[tuple[str, str]] = ()) -> None:
    output.facts(
        (
            ("id", found.id),
            ("project", found.project_id),
            ("title", escape(found.title)),
            ("state", output.coloured(output.state_of(found))),
            ("reason", escape(found.reason)),
            ("taken by", escape(found.assignee)),
            ("waits for", escape(", ".join(found.blocked_by))),
            ("parent", escape(found.parent)),
            ("not before", found.not_before.isoformat() if found.not_before else ""),
            ("commits", "\n".join(f"{c.sha} on {escape(c.branch)}" for c in found.commits)),
            ("attempts", str(found.epoch) if found.epoch else ""),
            ("filed", f"{output.age(found.created_at)} ago"),
            *more,
            ("correlation", escape(found.correlation_id)),
            ("description", escape(found.description)),
        )
    )
