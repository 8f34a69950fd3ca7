"""`loom dlq`: dead letters, and the ways out for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from rich.markup import escape

from loom.cli import output, profile
from loom.cli.group import Group
from loom.cli.known import PROJECT
from loom.clients.representation import dead_letter_to_json
from loom.clients.trail import group_to_json, replay_to_json
from loom.domain.replay import LetterState, Replay
from loom.messaging.deadletter import DeadLetter

SHOWN = 4_000
"""Characters of a body that a person gets to see; --json gives all that is kept."""

_state = click.option(
    "--state", type=click.Choice([each.value for each in LetterState]), help="In that state alone."
)
_project = click.option("--project", "project_id", type=PROJECT, default="", help="Of one project.")
_cursor = click.option("--cursor", default="", help="From the end of an earlier list.")


@click.group(cls=Group)
def dlq() -> None:
    """Messages that nobody could handle: see why, replay them, or give them up.

    \b
    loom dlq groups
    loom dlq replay --group 1f2e3d4c5b6a7988 --canary --rate 5 --reason 'parser is mended'
    """


@dlq.command("ls")
@_project
@_state
@click.option("--group", "fingerprint", default="", help="Of one group.")
@click.option("--limit", type=click.IntRange(1, 100), default=50, show_default=True)
@_cursor
@output.as_json_option
def list_some(
    *, project_id: str, state: str | None, fingerprint: str, limit: int, cursor: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Show dead letters, newest first.

    \b
    loom dlq ls --project shop
    """
    with profile.current().client() as client:
        page = client.list_dead_letters(project_id, limit, cursor, state or "", fingerprint)
    if as_json:
        letters = [dead_letter_to_json(each) for each in page.items]
        output.as_json({"dead_letters": letters, "next_cursor": page.next_cursor or None})
        return
    output.table(
        ("id", "state", "age", "queue", "bead", "reason", "detail", "group"),
        [
            (
                str(each.id),
                each.state.value,
                output.age(each.recorded_at),
                escape(each.queue),
                escape(each.bead_id),
                escape(each.reason),
                escape(_first_line(each.detail)),
                each.fingerprint,
            )
            for each in page.items
        ],
    )
    _more(page.next_cursor)


@dlq.command()
@_project
@_state
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@_cursor
@output.as_json_option
def groups(*, project_id: str, state: str | None, limit: int, cursor: str, as_json: bool) -> None:
    """Show dead letters by their cause.

    \b
    loom dlq groups --state open
    """
    with profile.current().client() as client:
        page = client.list_dead_letter_groups(project_id, state or "", limit, cursor)
    if as_json:
        found = [group_to_json(each) for each in page.items]
        output.as_json({"groups": found, "next_cursor": page.next_cursor or None})
        return
    output.table(
        ("group", "open", "all", "first", "last", "queue", "reason", "example", "detail"),
        [
            (
                each.fingerprint,
                str(each.open),
                str(each.count),
                output.age(each.first_at),
                output.age(each.last_at),
                escape(each.queue),
                escape(each.reason),
                str(each.example_id),
                escape(_first_line(each.detail)),
            )
            for each in page.items
        ],
    )
    _more(page.next_cursor)


@dlq.command()
@click.argument("letter_id", metavar="ID", type=int)
@output.as_json_option
def show(letter_id: int, as_json: bool) -> None:
    """Show one dead letter with its history and its body.

    \b
    loom dlq show 12
    """
    with profile.current().client() as client:
        found = client.get_dead_letter(letter_id)
    _tell_letter(found, as_json)


@dlq.command()
@click.option("--group", "fingerprint", default="", help="Of one group.")
@output.as_json_option
def replays(fingerprint: str, as_json: bool) -> None:
    """Show the replays of groups, newest first.

    \b
    loom dlq replays
    """
    with profile.current().client() as client:
        page = client.list_replays(fingerprint)
    if as_json:
        output.as_json({"replays": [replay_to_json(each) for each in page.items]})
        return
    output.table(
        ("replay", "group", "state", "replayed", "refused", "left", "by", "why"),
        [
            (
                each.id,
                each.fingerprint,
                each.state.value,
                str(each.replayed),
                str(each.refused),
                str(each.left),
                escape(each.actor),
                escape(each.why),
            )
            for each in page.items
        ],
    )


def _one_or_group(command: Callable[..., Any]) -> Callable[..., Any]:
    """What replay and discard have in common."""
    for option in reversed(
        (
            click.argument("letter_id", metavar="[ID]", type=int, required=False),
            click.option("--group", "fingerprint", default="", help="Every open one of a group."),
            click.option("--reason", required=True, help="Why: it stands in the audit trail."),
            click.option("--dry-run", is_flag=True, help="Only say what would be done."),
            output.as_json_option,
        )
    ):
        command = option(command)
    return command


@dlq.command()
@_one_or_group
@click.option("--rate", type=float, default=0.0, help="Letters a second, of a group.")
@click.option("--canary", is_flag=True, help="One first; the others after it ended well.")
def replay(
    *, letter_id: int | None, fingerprint: str, reason: str, dry_run: bool, as_json: bool,
    rate: float, canary: bool,
) -> None:  # fmt: skip
    """Send a letter's bead, or the message itself, on its way again.

    \b
    loom dlq replay 12 --reason 'parser is mended'
    loom dlq replay --group 1f2e3d4c5b6a7988 --canary --rate 5 --reason 'parser is mended'
    """
    _check_which(letter_id, fingerprint)
    with profile.current().client() as client:
        if letter_id is not None:
            letter = client.replay_dead_letter(letter_id, reason, dry_run=dry_run)
            _tell_letter(letter, as_json) if as_json else _done("replayed", letter, dry_run)
            return
        answer = client.replay_dead_letter_group(
            fingerprint, reason, dry_run=dry_run, rate_per_s=rate, canary=canary
        )
    begun = answer.replay
    if as_json:
        output.as_json(
            {"matching": answer.matching, "replay": replay_to_json(begun) if begun else None}
        )
    elif begun is None:
        click.echo(f"{answer.matching} open letters of group {fingerprint} would be replayed")
    else:
        click.echo(_progress(begun))


@dlq.command()
@_one_or_group
def discard(
    *, letter_id: int | None, fingerprint: str, reason: str, dry_run: bool, as_json: bool
) -> None:
    """Give a letter up, or every open one of a group.

    \b
    loom dlq discard 12 --reason 'filed by mistake'
    """
    _check_which(letter_id, fingerprint)
    with profile.current().client() as client:
        if letter_id is not None:
            letter = client.discard_dead_letter(letter_id, reason, dry_run=dry_run)
            _tell_letter(letter, as_json) if as_json else _done("discarded", letter, dry_run)
            return
        matching, gone = client.discard_dead_letter_group(fingerprint, reason, dry_run=dry_run)
    if as_json:
        output.as_json({"matching": matching, "discarded": gone})
    else:
        click.echo(
            f"{matching} letters of group {fingerprint} would be discarded"
            if dry_run
            else f"{gone} letters of group {fingerprint} are discarded"
        )


def _check_which(letter_id: int | None, fingerprint: str) -> None:
    if (letter_id is None) == (not fingerprint):
        raise click.UsageError("name one letter by its ID, or a group by --group")


def _done(what: str, letter: DeadLetter, dry_run: bool) -> None:
    about = f" of bead {letter.bead_id}" if letter.bead_id else ""
    click.echo(f"letter {letter.id}{about} {'would be' if dry_run else 'is'} {what}")


def _progress(replay: Replay) -> str:
    counts = f"{replay.replayed} replayed, {replay.refused} refused, {replay.left} left"
    why = f" ({replay.why})" if replay.why else ""
    more = "" if replay.ended_at else ": loom dlq replays"
    return f"replay {replay.id} is {replay.state.value}: {counts}{why}{more}"


def _tell_letter(letter: DeadLetter, as_json: bool) -> None:
    document = dead_letter_to_json(letter)
    if as_json:
        output.as_json(document)
        return
    output.facts(
        (
            ("id", str(letter.id)),
            ("state", letter.state.value),
            ("queue", escape(letter.queue)),
            ("project", escape(letter.project_id)),
            ("bead", escape(letter.bead_id)),
            ("epoch", str(letter.epoch or "")),
            ("reason", escape(letter.reason)),
            ("detail", escape(letter.detail)),
            ("group", letter.fingerprint),
            ("died", f"{output.age(letter.recorded_at)} ago"),
            ("settled by", escape(letter.settled_by)),
            ("because", escape(letter.note)),
            ("message", escape(letter.message_id)),
            ("correlation", escape(letter.correlation_id)),
            ("headers", escape(letter.headers)),
            ("deaths", escape(letter.deaths) if letter.deaths != "[]" else ""),
            ("bytes", f"{letter.size}{' (not all are kept)' if letter.cut else ''}"),
            ("body", escape(str(document["body"])[:SHOWN])),
        )
    )


def _first_line(text: str) -> str:
    line = text.strip().split("\n")[0]
    return line if len(line) <= 100 else f"{line[:99]}…"


def _more(cursor: str) -> None:
    if cursor:
        click.echo(f"There are more: --cursor {cursor}")
