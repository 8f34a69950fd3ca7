"""`loom drill`: faults on a scratch stack, and an accountant's verdict."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click
import structlog
from rich.table import Table

from loom.cli import output
from loom.drill import drill as drilling
from loom.drill import whole
from loom.drill.classes import MESSAGES, PLACES, SMALL
from loom.drill.controls import CONTROLS, Tried
from loom.drill.faults import FAULTS
from loom.drill.folder import HOME, RECORD
from loom.drill.folder import folder as own_folder
from loom.drill.report import Report
from loom.drill.small import Small
from loom.drill.whole import Whole
from loom.errors import LoomError
from loom.stack import holder


@click.command()
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same drill.")
@click.option("--faults", default=0, help="How many faults; each class once if 0.")
@click.option(
    "--class", "names", multiple=True, metavar="NAME", help="Only these classes, or guards."
)
@click.option("--minutes", default=0.0, help="Begin no fault after so many minutes; 0: no limit.")
@click.option("--small", is_flag=True, help="On a stack of one of each part, which is up sooner.")
@click.option("--controls", is_flag=True, help="Switch guards off instead: is it noticed?")
@click.option("--list", "listing", is_flag=True, help="Name the fault classes, and do nothing.")
@click.option("--base", default=0, help="The first of the ports; found by itself if 0.")
@click.option(
    "--keep", type=click.Path(path_type=Path), help="Keep record and logs in this folder."
)
@output.as_json_option
@click.pass_context
def drill(  # noqa: PLR0917 - one parameter an option
    context: click.Context, seed: int, faults: int, names: tuple[str, ...], minutes: float,
    small: bool, controls: bool, listing: bool, base: int, keep: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Make a stack of the drill's own fail, again and again, and count what became of its beads.

    It builds a scratch stack (three RabbitMQ nodes, PostgreSQL with a standby, PgBouncer, two of
    each service, three agents), files beads, and injects a fault of each class, one after another.
    Then an accountant that trusts no table of Loom's compares its own record of the accepted beads
    with the API, the journal, the commits, the queues, and its own count of effects. Exit code 1
    if anything was lost or doubled.

    \b
    loom drill --small --class kill-dispatcher --class duplicated
    loom drill --controls          is it noticed when a guard is missing?
    """
    # Standard output is for the report.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    known = [*SMALL] if small else [*MESSAGES, *PLACES, *FAULTS]
    if controls:
        known = [control.guard for control in CONTROLS]
    if listing:
        click.echo(json.dumps(known) if as_json else "\n".join(known))
        return
    if unknown := set(names) - set(known):
        raise click.BadParameter(f"{sorted(unknown)}; `loom drill --list` names those there are")
    with own_folder(keep=keep) as folder:
        try:
            if controls:
                tried = _controls(folder, base, seed, names)
                passed, document = all(t.caught for t in tried), _tried_document(tried, seed)
                show = partial(_show_tried, tried)
            else:
                report = _drill(folder, base, seed, faults, names, minutes, small=small)
                passed, document = report.passed, report.as_json()
                show = partial(_show, report)
        except LoomError as error:
            raise click.ClickException(error.detail) from error
    if as_json:
        output.as_json(document)
    else:
        show()
    context.exit(0 if passed else 1)


def _drill(  # noqa: PLR0917 - as the command has them
    folder: Path, base: int, seed: int, faults: int, names: tuple[str, ...], minutes: float,
    *, small: bool,
) -> Report:  # fmt: skip
    site: Small | Whole
    site = Small(folder / HOME, base or holder.free_base()) if small else Whole(folder / HOME, base)
    record = folder / RECORD
    try:
        _tell("starting the site")
        site.start()
        missing: dict[str, str] = {}
        if isinstance(site, Whole):
            table, missing = whole.classes(site)
        else:
            table = SMALL
        for name, why in missing.items():
            _tell(f"not on this machine: {name}: {why}")
        chosen = {name: table[name] for name in sorted(names or table) if name in table}
        pace = drilling.SHORT if small else drilling.Pace()
        wish = drilling.Wish(seed, faults or len(chosen), chosen, minutes, pace)
        report = drilling.run(site, "small" if small else "whole", wish, record, _tell)
        report.impossible = {n: why for n, why in missing.items() if not names or n in names}
        return report
    finally:
        site.stop()


def _controls(folder: Path, base: int, seed: int, names: tuple[str, ...]) -> list[Tried]:
    site = Small(folder / HOME, base or holder.free_base())
    try:
        _tell("starting the site")
        site.start()
        return drilling.run_controls(site, seed, folder / RECORD, _tell, names)
    finally:
        site.stop()


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _tried_document(tried: list[Tried], seed: int) -> dict[str, Any]:
    return {
        "caught": sum(t.caught for t in tried),
        "tried": len(tried),
        "seed": seed,
        "controls": [t.as_json() for t in tried],
    }


def _show_tried(tried: list[Tried]) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("guard", "caught", "what was found without it"):
        table.add_column(heading, overflow="fold")
    for one in tried:
        found = one.unguarded[0] if one.unguarded else ""
        table.add_row(one.control.guard, "yes" if one.caught else "NO", found)
    output.console().print(table)
    click.echo(f"{sum(t.caught for t in tried)} of {len(tried)} caught")


def _show(report: Report) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("class", "injected", "survived", "recovery: median s", "worst s"):
        table.add_column(heading, overflow="fold")
    for name, figures in report.classes.items():
        times = figures.as_json()["recovery_s"]
        table.add_row(
            name, str(figures.injected), str(figures.survived),
            str(times["median"] or ""), str(times["worst"] or ""),
        )  # fmt: skip
    output.console().print(table)
    document = report.as_json()
    for key in ("accepted", "lost", "doubled", "unexpected", "re_executed", "indeterminate"):
        click.echo(f"{key}: {document[key]}")
    for kind, findings in document["findings"].items():
        for finding in findings:
            click.echo(f"{kind}: {finding}")
