"""`loom bead import` and `loom bead export`: work that exists elsewhere comes and goes."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from loom.cli import output, profile
from loom.cli.known import PROJECT
from loom.clients.control import ControlClient
from loom.clients.importing import verdicts_to_json
from loom.domain.imports import linking, plan
from loom.domain.imports.issue import Source
from loom.domain.imports.reading import Line, cut, read
from loom.domain.imports.verdict import Action, Asked, Here, Verdict
from loom.errors import Invalid, LoomError, NotFound

PART, PART_BYTES = 500, 2 * 1024 * 1024
"""Issues, and bytes of them, that go in one request, which is one transaction."""
SHOWN = 60
"""Lines of the plan that a person gets to see; --json gives all of them."""
COLOURS = {
    Action.CREATE: "green",
    Action.UPDATE: "yellow",
    Action.CONFLICT: "red",
    Action.INVALID: "red",
}
_SOURCES = click.Choice([each.value for each in Source])


@click.command("import")
@click.argument("project_id", metavar="PROJECT", type=PROJECT)
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--from", "source", type=_SOURCES, help="Whose file it is; by its name if left out.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--run", is_flag=True, help="Let run at once what is ready there; else it is held.")
@click.option(
    "--column", "columns", multiple=True, metavar="NAME=HEADING",
    help="Of a CSV file: which column is it.",
)  # fmt: skip
@output.as_json_option
@click.pass_context
def bring_in(
    ctx: click.Context, *, project_id: str, file: str, source: str | None, dry_run: bool,
    run: bool, columns: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Bring the issues of another tracker into PROJECT, each once; again, what changed there.

    Ids, states, priorities, dependencies and comments are kept. Nothing that is imported runs
    until somebody lets it: `loom bead unblock`, or --run. Exit codes: 0, 1 if an issue could not
    be taken over.

    \b
    loom bead import shop .beads/issues.jsonl --dry-run
    gh api --paginate 'repos/me/shop/issues?state=all' > issues.json
    loom bead import shop issues.json --run
    loom bead import shop backlog.csv --column id='Issue key'
    """
    name, text = _text(file)
    text = _renamed(text, columns)
    kind = Source(source) if source else _guess(name, text)
    lines = cut(kind, text)
    faults = [
        Verdict(each.number, Action.INVALID, remarks=(each.fault,))
        for each in lines
        if each.record is None
    ]
    good = [each for each in lines if each.record is not None]
    with profile.current().client() as client:
        client.get_project(project_id)
        told = _send(client, project_id, kind, good, dry_run=dry_run, run=run)
    if dry_run:
        told = _seen_whole(project_id, kind, good, told, run=run)
    verdicts = sorted([*faults, *told], key=lambda each: each.line)
    if as_json:
        output.as_json(verdicts_to_json(verdicts, dry_run=dry_run))
    else:
        _show(verdicts, dry_run=dry_run)
    if any(each.action in {Action.CONFLICT, Action.INVALID} for each in verdicts):
        ctx.exit(1)


def _text(file: str) -> tuple[str, str]:
    """The name of a file, and what is in it."""
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return file, raw.decode("utf-8-sig")
    except OSError as error:
        raise NotFound(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Invalid(
            f"{file} is not UTF-8: byte {error.start} is not. `iconv -f WINDOWS-1252 -t UTF-8` "
            "makes it so, if that is what it is"
        ) from error


def _renamed(text: str, columns: Sequence[str]) -> str:
    """A CSV file with the columns named as Loom names them."""
    head, newline, rest = text.partition("\n")
    for each in columns:
        name, _, heading = each.partition("=")
        if not heading or heading not in head:
            raise click.UsageError(f"--column {each}: the header has no column {heading!r}: {head}")
        head = head.replace(heading, name, 1)
    return head + newline + rest


def _guess(name: str, text: str) -> Source:
    """Whose file it is."""
    ending = name.rsplit(".", 1)[-1].lower() if "." in name else ""
    if ending in {"csv", "tsv"}:
        return Source.CSV
    if ending == "json":
        return Source.GITHUB
    if ending in {"jsonl", "ndjson"}:
        first = cut(Source.BD, text.partition("\n")[0])
        record = (first[0].record if first else None) or {}
        return Source.LOOM if "state" in record and "status" not in record else Source.BD
    raise click.UsageError(f"{name} does not say whose file it is: say it with --from")


def _parts(lines: Sequence[Line]) -> Iterator[list[Line]]:
    part: list[Line] = []
    size = 0
    for line in lines:
        more = len(json.dumps(line.record))
        if part and (len(part) == PART or size + more > PART_BYTES):
            yield part
            part, size = [], 0
        part.append(line)
        size += more
    if part:
        yield part


def _send(
    client: ControlClient, project_id: str, source: Source, lines: Sequence[Line], *,
    dry_run: bool, run: bool,
) -> list[Verdict]:  # fmt: skip
    told: list[Verdict] = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("looking" if dry_run else "importing", total=len(lines))
        for part in _parts(lines):
            try:
                told += client.import_beads(project_id, source, part, dry_run=dry_run, run=run)
            except LoomError as error:
                if told and not dry_run:
                    click.echo(
                        f"{len(told)} of {len(lines)} issues are dealt with; the same command "
                        "goes on with the others",
                        err=True,
                    )
                raise error
            progress.advance(task, len(part))
    return told


def _seen_whole(
    project_id: str, source: Source, lines: Sequence[Line], told: Sequence[Verdict], *, run: bool
) -> list[Verdict]:  # fmt: skip
    """What a dry run says, although none of its parts was made for the next to see.

    An issue of another part is not missing, and a circle may lead through several parts.
    """
    asked = []
    for line in lines:
        try:
            asked.append(Asked(line.number, read(source, line.record or {})))
        except LoomError as error:
            asked.append(Asked(line.number, fault=error.detail))
    there = {linking.missing(each.issue.id) for each in asked if each.issue is not None}
    whole = plan.plan(asked, Here(project_id), run=run).verdicts
    circles = {each.line: [r for r in each.remarks if linking.CIRCLE in r] for each in whole}
    return [
        replace(
            each,
            remarks=tuple(
                dict.fromkeys(
                    (*(r for r in each.remarks if r not in there), *circles.get(each.line, ()))
                )
            ),
        )
        for each in told
    ]


def _show(verdicts: Sequence[Verdict], *, dry_run: bool) -> None:
    counts = Counter(each.action for each in verdicts)
    news = [each for each in verdicts if each.action is not Action.SAME or each.remarks]
    news.sort(key=lambda each: (each.action not in {Action.CONFLICT, Action.INVALID}, each.line))
    if news:
        output.table(
            ("line", "what", "id", "bead", "title", "changes"),
            [
                (
                    str(each.line),
                    f"[{COLOURS.get(each.action, 'dim')}]{each.action.value}[/]",
                    escape(each.external_id),
                    escape(each.bead_id),
                    escape(each.title[:60]),
                    escape(", ".join(each.changes)),
                )
                for each in news[:SHOWN]
            ],
        )
    if len(news) > SHOWN:
        click.echo(f"… and {len(news) - SHOWN} more: --json prints all of them")
    remarked = [each for each in news if each.remarks]
    for each in remarked[:SHOWN]:
        for remark in each.remarks:
            click.echo(f"line {each.line} ({each.external_id or 'no id'}): {remark}")
    if len(remarked) > SHOWN:
        click.echo(f"… and remarks on {len(remarked) - SHOWN} more lines: --json prints all")
    words = ", ".join(f"{counts[action]} {action.value}" for action in Action if counts[action])
    click.echo(f"{'would be' if dry_run else 'done'}: {words or 'nothing, the file is empty'}")


@click.command("export")
@click.argument("project_id", metavar="PROJECT", type=PROJECT)
@click.option("--format", "kind", type=_SOURCES, default=Source.LOOM.value, show_default=True)
@click.option("-o", "--output", "target", type=click.Path(dir_okay=False), help="A file.")
def give_back(project_id: str, kind: str, target: str | None) -> None:
    """Write PROJECT's beads as a file of another tracker, or of Loom's own.

    What was imported from that tracker comes as it had it, with what has changed here since.

    \b
    loom bead export shop --format bd -o .beads/issues.jsonl
    loom bead export shop --format csv | column -s, -t | less
    """
    with profile.current().client() as client, _target(target) as out:
        for piece in client.export_beads(project_id, Source(kind)):
            out.write(piece)


@contextmanager
def _target(name: str | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that is replaced once all of it is there."""
    if name is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = Path(f"{name}.part")
    try:
        with part.open("wb") as out:
            yield out
        part.replace(name)
    except OSError as error:
        raise Invalid(f"{name} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def origin_of(client: ControlClient, bead_id: str) -> Mapping[str, Any] | None:
    """Where a bead came from, as JSON; None if it was filed here."""
    try:
        return client.get_origin(bead_id)
    except NotFound:
        return None


def facts(origin: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """What is known of where a bead came from, to be printed."""
    if origin is None:
        return []
    details = origin["details"]
    return [
        ("came from", escape(f"{origin['source']} {origin['external_id']} ({origin['status']})")),
        ("labels", escape(", ".join(details["labels"]))),
        ("assigned to", escape(", ".join(details["assignees"]))),
        ("kind", escape(details["kind"])),
        ("milestone", escape(details["milestone"])),
        ("see", escape(details["url"])),
        ("not linked", escape(", ".join(origin["pending"]))),
    ]
