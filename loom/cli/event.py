"""`loom event`: what happens, listed and followed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import click
from rich.markup import escape

from loom.cli import output, profile
from loom.cli.group import Group
from loom.cli.known import BEAD, PROJECT
from loom.clients.control import ControlClient
from loom.clients.eventstream import event_to_json, subject_of
from loom.domain.event import EventFilter, EventLine
from loom.errors import DeadlineExceeded, Exhausted, Invalid, Unavailable

PATIENCE_S = 30.0
"""How long a Loom that is away is waited for."""
AGAIN_S = 0.5
SHOWN = ("resolution", "reason", "outcome", "state", "by", "detail", "title", "host")
"""What a line shows of an event's data, in this order."""


@click.group(cls=Group)
def event() -> None:
    """What happens: every change of state, from beads to webhooks.

    \b
    loom event list --project shop --type 'bead.*'
    loom event tail -f --type bead.closed --json
    """


def _filters(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--bead", "bead_id", type=BEAD, default="", metavar="ID", help="Of it."),
        click.option(
            "--type", "types", multiple=True, metavar="TYPE",
            help="As bead.closed or bead.*; may stand several times.",
        ),
        click.option(
            "--project", "projects", type=PROJECT, multiple=True, metavar="ID",
            help="Of this project; may stand several times.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


@event.command("list")
@_filters
@click.option("--since", default="", metavar="TIME", help="From then on, as 2026-05-01T09:00Z.")
@click.option("--until", default="", metavar="TIME", help="Before then.")
@click.option("--oldest-first", is_flag=True, help="Begin with the oldest.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--cursor", default="", help="From the end of an earlier list.")
@output.as_json_option
def list_some(
    *, projects: tuple[str, ...], types: tuple[str, ...], bead_id: str, since: str, until: str,
    oldest_first: bool, limit: int, cursor: str, as_json: bool,
) -> None:  # fmt: skip
    """Show what has happened, newest first.

    \b
    loom event list --project shop --since 2026-05-01
    """
    wants = EventFilter(
        frozenset(projects) or None, bead_id, types, _moment("since", since),
        _moment("until", until),
    )  # fmt: skip
    with profile.current().client() as client:
        page = client.list_events(wants, limit, cursor, newest_first=not oldest_first)
    if as_json:
        events = [event_to_json(each) for each in page.events]
        next_cursor = str(page.place) if page.more else None
        output.as_json({"events": events, "place": str(page.place), "next_cursor": next_cursor})
        return
    output.table(
        ("when", "what", "project", "of", "how"),
        [
            (
                output.age(each.at),
                escape(each.type),
                escape(each.project_id),
                escape(subject_of(each) or ""),
                escape(_told(each.data)),
            )
            for each in page.events
        ],
    )
    if page.more:
        click.echo(f"There are more: --cursor {page.place}")


@event.command("tail")
@_filters
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(0, 500), default=10, show_default=True,
    help="How many of the last to begin with.",
)  # fmt: skip
@click.option(
    "--after", default="", metavar="PLACE",
    help="Begin after this place, which every event has, and leave none out.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="A JSON document a line, for programs.")
def tail(
    *, projects: tuple[str, ...], types: tuple[str, ...], bead_id: str, follow: bool, lines: int,
    after: str, as_json: bool,
) -> None:  # fmt: skip
    """Show the last events, and with -f what happens from then on.

    With -f it comes back by itself when the connection breaks off, and tells every event once.

    \b
    loom event tail -f --type bead.closed --json
    """
    wants = EventFilter(frozenset(projects) or None, bead_id, types)
    with profile.current().client() as client:
        begin = after
        if not after:
            # In the order of all events, so that what follows begins where this ends.
            newest = client.list_events(EventFilter(), 1).events
            begin = str(newest[0].place) if newest else ""
            page = client.list_events(wants, max(lines, 1), newest_first=True)
            last = [each for each in page.events if not newest or each.place <= newest[0].place]
            for each in reversed(last[:lines]):
                _show(each, as_json=as_json)
        if not follow:
            if after:
                for each in _rest(client, wants, after):
                    _show(each, as_json=as_json)
            return
        for each in _follow(client, wants, begin):
            _show(each, as_json=as_json)


def _rest(client: ControlClient, wants: EventFilter, place: str) -> Iterator[EventLine]:
    while True:
        page = client.list_events(wants, 500, place, newest_first=False)
        yield from page.events
        place = str(page.place)
        if not page.more:
            return


def _follow(client: ControlClient, wants: EventFilter, place: str) -> Iterator[EventLine]:
    """Every event once, over as many connections as it takes."""
    last, heard = place, time.monotonic()
    while True:
        try:
            for place_, line in client.follow_events(wants, "start", last):
                heard, last = time.monotonic(), place_ or last
                if line is not None:
                    yield line
        except (Unavailable, DeadlineExceeded, Exhausted) as error:
            if time.monotonic() - heard > PATIENCE_S:
                raise
            click.echo(f"(again: {error.detail})", err=True)
        time.sleep(AGAIN_S)


def _show(line: EventLine, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(event_to_json(line), ensure_ascii=False))
        return
    moment = line.at.astimezone().strftime("%H:%M:%S")
    words = (moment, f"{line.type:<22}", subject_of(line) or "", _told(line.data))
    click.echo("  ".join(word for word in words if word).rstrip())


def _told(data: Mapping[str, Any]) -> str:
    """The data in a line; what others wrote has no control characters here."""
    parts = [f"{name}: {data[name]}" for name in SHOWN if data.get(name) not in (None, "")]
    return "".join(c if c.isprintable() else " " for c in "; ".join(parts))[:200]


def _moment(name: str, text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Invalid(f"--{name} is a moment as 2026-05-01T09:00Z, not {text!r}") from error
    return moment if moment.tzinfo else moment.astimezone()
