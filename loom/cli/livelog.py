"""`loom bead logs`: what the commands of a bead write, as they write it."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from loom.cli import profile
from loom.cli.known import BEAD
from loom.clients.control import ControlClient
from loom.clients.following import ATTEMPT, END, LogEvent, as_text, placed_to_json
from loom.domain.lifecycle import Resolution
from loom.domain.log import LineKind, LogCursor, LogLine, LogState, PlacedLine
from loom.errors import DeadlineExceeded, Exhausted, Unavailable

PATIENCE_S = 30.0
"""How long a Loom that is away is waited for."""
AGAIN_S = 0.5

_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # OSC and other strings, to their end
    r"|\x1b[ -/]*[0-~]"
    r"|\x1b"
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
"""All but the tab. Source: ECMA-48, 5.3 to 5.6."""


@click.command("logs")
@click.argument("bead_id", metavar="ID", type=BEAD)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until the bead ends.")
@click.option("--attempt", type=click.IntRange(1), default=None, help="This one alone.")
@click.option(
    "--from", "start", type=click.Choice(["start", "now"]), default="start", show_default=True,
    help="Where to begin to follow.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="A JSON document a line, for programs.")
@click.pass_context
def logs(
    ctx: click.Context, *, bead_id: str, follow: bool, attempt: int | None, start: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Show what the commands of bead ID write; of its newest attempt unless you name another.

    With -f it goes on over to further attempts, and comes back by itself when the connection
    breaks off. It ends with the bead: exit code 0 if that succeeded, 1 if not.

    \b
    loom bead logs -f bd-1
    loom bead logs bd-1 --attempt 2
    """
    if start == "now" and not follow:
        raise click.UsageError("--from now has no meaning without -f")
    colours = not as_json and sys.stdout.isatty()
    with profile.current().client() as client:
        if not follow:
            for placed in _read(client, bead_id, attempt or 0):
                _show(placed, as_json, colours)
            return
        for event in _follow(client, bead_id, attempt or 0, start):
            if event.line is not None:
                _show(PlacedLine(LogCursor.parse(event.id), event.line), as_json, colours)
            elif as_json:
                click.echo(json.dumps({"event": event.kind, **(event.data or {})}))
            elif event.kind == ATTEMPT:
                click.echo(f"attempt {(event.data or {}).get('attempt')}", err=True)
        if not _succeeded(client, bead_id, attempt):
            ctx.exit(1)


def _read(client: ControlClient, bead_id: str, attempt: int) -> Iterator[PlacedLine]:
    """What there is, of one attempt."""
    cursor = ""
    while True:
        page = client.read_log(bead_id, attempt, cursor)
        yield from page.lines
        attempt = attempt or page.next.epoch
        cursor = str(page.next)
        if page.state is not LogState.MORE:
            return


def _follow(client: ControlClient, bead_id: str, attempt: int, start: str) -> Iterator[LogEvent]:
    """Every event once, up to the end, over as many connections as it takes."""
    last, heard = "", time.monotonic()
    if start == "now":
        # Where now is, is settled once: a connection that breaks before any event must not move it.
        last = str(client.end_of_log(bead_id, attempt))
    while True:
        try:
            for event in client.follow_log(bead_id, attempt, last_event_id=last):
                heard, last = time.monotonic(), event.id or last
                yield event
                if event.kind == END:
                    return
        except (Unavailable, DeadlineExceeded, Exhausted) as error:
            if time.monotonic() - heard > PATIENCE_S:
                raise
            click.echo(f"(again: {error.detail})", err=True)
        time.sleep(AGAIN_S)


def _succeeded(client: ControlClient, bead_id: str, attempt: int | None) -> bool:
    if attempt is None:
        return client.get_bead(bead_id).resolution is Resolution.SUCCEEDED
    found = [each for each in client.list_attempts(bead_id) if each.epoch == attempt]
    return bool(found) and found[0].outcome == "succeeded"


def _show(placed: PlacedLine, as_json: bool, colours: bool) -> None:
    if as_json:
        document: dict[str, Any] = {"event": "line", **placed_to_json(placed)}
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    click.echo(shown(placed.line, colours=colours), nl=False, color=colours)


def shown(line: LogLine, *, colours: bool) -> str:
    """A line as it may be written to a terminal, whoever wrote it: colours, if wanted, and no
    other control sequence; of what was written over itself, the last.
    """
    text = line.text.rstrip("\r")
    text = text.rpartition("\r")[2]
    kept = _safe(text, colours=colours)
    if line.kind is not LineKind.OUT and colours:
        kept = f"\x1b[2m{kept}"
    if "\x1b" in kept:
        kept += "\x1b[0m"
    safe = LogLine(line.at, kept, _safe(line.step, colours=False), line.kind, line.more)
    return as_text(safe)


def _safe(text: str, *, colours: bool) -> str:
    if not colours:
        return _CONTROL.sub("", _SEQUENCE.sub("", text))
    # Split at the colours: what lies between them is as in the other case.
    between = _COLOUR.split(text)
    marks = [*_COLOUR.findall(text), ""]
    pairs = zip(between, marks, strict=True)
    return "".join(_safe(part, colours=False) + mark for part, mark in pairs)
