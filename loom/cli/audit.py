"""`loom audit`: who did what, and why; and whether the trail is as it was written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TextIO

import click
from rich.markup import escape

from loom.cli import output, profile
from loom.clients.accounts import read_export
from loom.clients.trail import audit_line_to_json
from loom.domain.auditchain import Check, Head


@click.group(invoke_without_command=True)
@click.option("--target", default="", help="What was done to one bead, letter or group.")
@click.option("--action", default="", help="As bead.cancel or user.*; several apart by commas.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--cursor", default="", help="From the end of an earlier list.")
@output.as_json_option
@click.pass_context
def audit(
    context: click.Context, *, target: str, action: str, limit: int, cursor: str, as_json: bool
) -> None:
    """Show what people did, newest first.

    Every line carries a hash over itself and the line before: `verify` finds the first that was
    changed or taken away, and `export` writes all of it for keeping elsewhere.

    \b
    loom audit --target bd-1
    loom audit --action bead.cancel --json
    """
    if context.invoked_subcommand is not None:
        return
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


@audit.command()
@click.option("--file", "export_file", type=click.File(), help="Of an export; else the server's.")
@click.option("--head", default="", metavar="PLACE:HASH", help="That an earlier verify told.")
@output.as_json_option
@click.pass_context
def verify(context: click.Context, export_file: TextIO | None, head: str, as_json: bool) -> None:
    """Compute every hash of the trail anew, here: exit code 1 if a line is not as it was written.

    Write down what it tells at the end: with --head, it finds out later whether even the newest
    lines of then are still there.

    \b
    loom audit verify
    loom audit export > audit.jsonl && loom audit verify --file audit.jsonl
    """
    known, check = _head(head), Check()
    if export_file is not None:
        _walk(check, iter(export_file), known)
        told = check.head
    else:
        with profile.current().client() as client:
            _walk(check, client.export_audit(), known)
            # What came may have been cut at its end, which the server knows better.
            told = client.verify_audit().head
    verdict = check.end(told if told.place > check.head.place else None)
    if not verdict.broken and verdict.head.place < known.place:
        raise click.ClickException(
            f"the trail ends at line {verdict.head.place}, and you know of line {known.place}: "
            "lines were taken away"
        )
    told_head = f"{verdict.head.place}:{verdict.head.hash}"
    if as_json:
        output.as_json(
            {
                "lines": verdict.lines, "head": told_head,
                "broken": verdict.broken or None, "why": verdict.why or None,
            }
        )  # fmt: skip
    elif verdict.broken:
        click.echo(f"broken at line {verdict.broken}: {verdict.why}", err=True)
    else:
        click.echo(f"all {verdict.lines} lines are as they were written; the newest: {told_head}")
    context.exit(1 if verdict.broken else 0)


@audit.command()
@click.option("--after", type=click.IntRange(0), default=0, help="Lines after this place alone.")
@click.option("--output", "target", type=click.File("w"), default="-", help="A file, for stdout: -")
def export(after: int, target: TextIO) -> None:
    """Write the trail, oldest line first, a line of JSON each, with its hashes.

    \b
    loom audit export --output audit.jsonl
    """
    with profile.current().client() as client:
        for line in client.export_audit(after):
            target.write(f"{line}\n")


def _walk(check: Check, lines: Iterator[str], known: Head) -> None:
    for each in read_export(lines):
        if not check.take([each]):
            return
        if each.place == known.place and each.hash != known.hash:
            raise click.ClickException(
                f"line {each.place} has another hash than the one you know: the trail was written "
                "anew. Compare it with an export that you kept"
            )


def _head(text: str) -> Head:
    if not text:
        return Head()
    place, _, digest = text.partition(":")
    if not place.isdecimal() or not digest:
        raise click.BadParameter(f"{text!r} is not PLACE:HASH", param_hint="--head")
    return Head(int(place), digest)
