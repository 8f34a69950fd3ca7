"""`loom bench`: measurements on a scratch stack."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import structlog
from rich.table import Table

from loom.bench import followers as following
from loom.bench.followers import Plan
from loom.cli import output
from loom.drill.folder import HOME
from loom.drill.folder import folder as own_folder
from loom.drill.small import Small
from loom.stack import holder


@click.group()
def bench() -> None:
    """Measure Loom on a stack of its own, which is gone afterwards."""


@bench.command()
@click.option("--followers", default=50, show_default=True, help="Half of pages, half of a log.")
@click.option("--rounds", default=8, show_default=True, help="How often each phase comes.")
@click.option("--seconds", default=5.0, show_default=True, help="How long each phase lasts.")
@click.option("--rate", default=30.0, show_default=True, help="Ordinary requests a second.")
@click.option(
    "--crowd", "crowds", multiple=True, type=click.IntRange(1, 800), default=(200, 500),
    show_default=True, help="So many ask to follow at once; may be given again.",
)  # fmt: skip
@click.option("--base", default=0, help="The first of the ports; found by itself if 0.")
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Keep the stack's logs in this folder."
)
@output.as_json_option
def followers(  # noqa: PLR0917 - one parameter an option
    followers: int, rounds: int, seconds: float, rate: float, crowds: tuple[int, ...], base: int,
    keep: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Find out what followers of live pages and logs cost everybody else.

    It starts a scratch stack with a bead that writes, and asks the API for lists, beads and new
    beads at a fixed rate: alone, with followers, with followers and five readers that take nothing,
    and with as many clients that ask every second instead of following. The phases take turns, so
    that what else the machine does harms all alike. Then more ask to follow than may.

    \b
    loom bench followers --followers 50
    loom bench followers --rounds 1 --seconds 5 --json >figures.json
    """
    # Standard output is for the figures.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    plan = Plan(followers, rounds, seconds, rate, crowds)
    with own_folder(keep=keep) as folder:
        site = Small(folder / HOME, base or holder.free_base())
        try:
            _tell("starting a stack")
            site.start()
            document = following.run(site, plan, _tell)
        finally:
            site.stop()
    if as_json:
        output.as_json(document)
    else:
        _show(document)


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _show(document: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("phase", "p50 ms", "p95", "p99", "max", "errors", "event p50", "p99",
                    "line p50", "p99"):  # fmt: skip
        table.add_column(heading, overflow="fold")
    crowds = {f"{count} ask to follow": each for count, each in document["crowds"].items()}
    for name, phase in {**document["phases"], **crowds}.items():
        times = phase["requests_ms"] | phase["middle_round_ms"]
        readers = phase["readers"]
        cells = [times.get(key, "") for key in ("p50", "p95", "p99", "max")]
        delays = [
            readers[kind].get(p, "") for kind in ("event_ms", "line_ms") for p in ("p50", "p99")
        ]
        table.add_row(name, *map(str, (*cells, phase["errors"], *delays)))
    output.console().print(table)
    for name, added in document["per_follower"].items():
        words = ", ".join(f"{key} {value}" for key, value in added.items())
        click.echo(f"each of those of '{name}' adds: {words}")
