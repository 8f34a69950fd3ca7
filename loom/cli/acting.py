"""What a person does to beads: the acts of `loom bead`, on one or on many."""

from __future__ import annotations

import click
from rich.markup import escape

from loom.cli import output, profile
from loom.cli.known import BEAD
from loom.clients.control import ControlClient
from loom.clients.representation import bead_to_json, bulk_to_json
from loom.domain.bead import Bead, NewBead
from loom.domain.bulk import MAX_BULK, Act, Bulk, BulkAnswer, Done, Verdict
from loom.domain.priority import MAX_PRIORITY

_reason = click.option("--reason", required=True, help="Why: it stands in the audit trail.")
_ids = click.argument("bead_ids", metavar="ID...", type=BEAD, nargs=-1, required=True)
_dry_run = click.option("--dry-run", is_flag=True, help="Only say what would become of each.")


@click.command()
@_ids
@_reason
@_dry_run
@output.as_json_option
@click.pass_context
def cancel(
    ctx: click.Context, bead_ids: tuple[str, ...], reason: str, dry_run: bool, as_json: bool
) -> None:
    """Give beads up: a queued one never starts, a running one is stopped.

    \b
    loom bead cancel bd-1 bd-2 --reason 'filed twice'
    """
    if len(bead_ids) == 1 and not dry_run:
        with profile.current().client() as client:
            told(client.cancel_bead(bead_ids[0], reason), as_json)
        return
    _many(ctx, Bulk(Act.CANCEL, bead_ids, dry_run=dry_run), reason, as_json)


def _unblock(
    ctx: click.Context, bead_ids: tuple[str, ...], reason: str, dry_run: bool, as_json: bool
) -> None:
    if len(bead_ids) == 1 and not dry_run:
        with profile.current().client() as client:
            told(client.unblock_bead(bead_ids[0], reason), as_json)
        return
    _many(ctx, Bulk(Act.UNBLOCK, bead_ids, dry_run=dry_run), reason, as_json)


@click.command()
@_ids
@_reason
@_dry_run
@output.as_json_option
@click.pass_context
def unblock(
    ctx: click.Context, bead_ids: tuple[str, ...], reason: str, dry_run: bool, as_json: bool
) -> None:
    """Let blocked beads go on, their spent budgets forgiven.

    \b
    loom bead unblock bd-1 bd-2 --reason 'the vendor is back'
    """
    _unblock(ctx, bead_ids, reason, dry_run, as_json)


@click.command()
@_ids
@_reason
@_dry_run
@output.as_json_option
@click.pass_context
def retry(
    ctx: click.Context, bead_ids: tuple[str, ...], reason: str, dry_run: bool, as_json: bool
) -> None:
    """Try blocked beads again: the same as unblock. A closed bead is filed anew by `refile`.

    \b
    loom bead retry bd-1 --reason 'the disk has room again'
    """
    _unblock(ctx, bead_ids, reason, dry_run, as_json)


@click.command()
@click.argument("value", metavar="PRIORITY", type=click.IntRange(0, MAX_PRIORITY))
@_ids
@click.option("--reason", default="asked for at the command line", help="Why.")
@_dry_run
@output.as_json_option
@click.pass_context
def priority(
    ctx: click.Context, *, value: int, bead_ids: tuple[str, ...], reason: str, dry_run: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Set the priority of beads, 0 (first) to 3.

    \b
    loom bead priority 0 bd-1 bd-2
    """
    _many(ctx, Bulk(Act.PRIORITY, bead_ids, priority=value, dry_run=dry_run), reason, as_json)


@click.command()
@click.argument("bead_id", metavar="ID", type=BEAD)
@click.option("--for", "assignee", default="", metavar="NAME", help="Somebody else.")
@click.option("--reason", default="taken at the command line", help="Why.")
@output.as_json_option
def claim(bead_id: str, assignee: str, reason: str, as_json: bool) -> None:
    """Take a bead by hand: no agent gets it until `loom bead release`.

    It stays open, since only an attempt is in progress; and only an attempt can prove it. Do what
    you have to, then release it, or cancel it.

    \b
    loom bead claim bd-1 --reason 'needs a person'
    """
    with profile.current().client() as client:
        told(client.claim_bead(bead_id, reason, assignee), as_json)


@click.command()
@click.argument("bead_id", metavar="ID", type=BEAD)
@click.option("--reason", default="released at the command line", help="Why.")
@output.as_json_option
def release(bead_id: str, reason: str, as_json: bool) -> None:
    """Give a bead that somebody took by hand to the agents again.

    \b
    loom bead release bd-1
    """
    with profile.current().client() as client:
        told(client.release_bead(bead_id, reason), as_json)


@click.command()
@click.argument("bead_id", metavar="ID", type=BEAD)
@click.option("--on", "waits_for", multiple=True, metavar="ID", help="It waits for that one.")
@click.option("--not-on", "no_more", multiple=True, metavar="ID", help="It does so no more.")
@output.as_json_option
def depend(
    bead_id: str, waits_for: tuple[str, ...], no_more: tuple[str, ...], as_json: bool
) -> None:
    """Say which beads have to succeed before this one.

    \b
    loom bead depend bd-3 --on bd-1 --on bd-2
    """
    if not waits_for and not no_more:
        raise click.UsageError("say on which: --on ID, or --not-on ID")
    with profile.current().client() as client:
        for blocker in waits_for:
            changed = client.link_bead(bead_id, blocker)
        for blocker in no_more:
            changed = client.link_bead(bead_id, blocker, waits=False)
    if as_json:
        output.as_json(bead_to_json(changed))
    else:
        click.echo(f"{changed.id} waits for {', '.join(changed.blocked_by) or 'no bead'}")


@click.command()
@click.argument("bead_id", metavar="ID", type=BEAD)
@output.as_json_option
def refile(bead_id: str, as_json: bool) -> None:
    """File the work of a bead anew, waiting for nothing: a closed bead never moves again.

    \b
    loom bead refile bd-1
    """
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


def _many(ctx: click.Context, bulk: Bulk, reason: str, as_json: bool) -> None:
    """Act on them; exit code 1 if one of them was refused or is not there."""
    with profile.current().client() as client:
        answer = _in_batches(client, bulk, reason)
    if as_json:
        output.as_json(bulk_to_json(answer))
    else:
        output.table(
            ("id", "what became of it"),
            [(each.bead_id, escape(each.why or each.verdict.value)) for each in answer.done],
        )
    if any(each.verdict in (Verdict.REFUSED, Verdict.MISSING) for each in answer.done):
        ctx.exit(1)


def _in_batches(client: ControlClient, bulk: Bulk, reason: str) -> BulkAnswer:
    ids = tuple(dict.fromkeys(bulk.ids))
    done: list[Done] = []
    for begin in range(0, len(ids), MAX_BULK):
        some = Bulk(
            bulk.act, ids[begin : begin + MAX_BULK], priority=bulk.priority, dry_run=bulk.dry_run
        )
        done += client.act_on_beads(some, reason).done
    return BulkAnswer(tuple(done))


def told(changed: Bead, as_json: bool) -> None:
    """Print what a bead is now."""
    if as_json:
        output.as_json(bead_to_json(changed))
        return
    taken = f", taken by {changed.assignee}" if changed.assignee else ""
    click.echo(f"{changed.id} is {output.state_of(changed)}{taken}")
