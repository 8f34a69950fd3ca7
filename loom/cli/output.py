"""How commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loom.domain.bead import Bead
from loom.domain.lifecycle import Resolution, State

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")

COLOURS = {
    "open": "cyan",
    "in_progress": "yellow",
    "alive": "green",
    "busy": "yellow",
    "draining": "cyan",
    "lost": "red",
    "stopped": "dim",
    "blocked": "red",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "dim",
    "dead-lettered": "magenta",
}


def console() -> Console:
    """Where tables go: standard output, wide enough for whole lines when it is not a terminal."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=200)


def as_json(document: Any) -> None:
    """Print a document."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def state_of(bead: Bead) -> str:
    """One word for where the bead is: its resolution once it is closed."""
    if bead.state is State.CLOSED and bead.resolution:
        return bead.resolution.value
    return bead.state.value


def coloured(word: str) -> str:
    """The word in the colour of its meaning, as markup."""
    colour = COLOURS.get(word)
    return f"[{colour}]{escape(word)}[/]" if colour else escape(word)


def succeeded(bead: Bead) -> bool:
    """Whether the bead is closed and proven."""
    return bead.resolution is Resolution.SUCCEEDED


def age(moment: datetime | None) -> str:
    """How long ago, in the largest unit that fits."""
    if moment is None:
        return ""
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; cells are markup, so escape what others wrote."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        grid.add_column(heading, overflow="fold")
    for row in rows:
        grid.add_row(*row)
    console().print(grid)


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Print what is known of one thing, a line each, without what is empty."""
    grid = Table(box=None, pad_edge=False, show_header=False)
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        if value:
            grid.add_row(name, value)
    console().print(grid)
