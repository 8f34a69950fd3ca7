"""`loom drill`: faults on a scratch stack, and an accountant's verdict."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import click

from loom.drill import drill as drilling
from loom.drill.classes import SMALL
from loom.drill.small import Small
from loom.errors import LoomError


@click.command()
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same drill.")
@click.option("--faults", default=0, help="How many faults; each class once if 0.")
@click.option("--class", "names", multiple=True, metavar="NAME", help="Only these classes.")
@click.option("--minutes", default=0.0, help="Begin no fault after so many minutes; 0: no limit.")
@click.option("--small", is_flag=True, help="On a stack of one of each part, which is up sooner.")
@click.option("--base", default=0, help="The first of the ports; found by itself if 0.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.pass_context
def drill(  # noqa: PLR0917 - one parameter an option
    context: click.Context, seed: int, faults: int, names: tuple[str, ...], minutes: float,
    small: bool, base: int, as_json: bool,
) -> None:  # fmt: skip
    """Make a stack of the drill's own fail, again and again, and count what became of its beads."""
    table = SMALL
    if unknown := set(names) - table.keys():
        raise click.BadParameter(f"{sorted(unknown)}; there are {', '.join(sorted(table))}")
    chosen = {name: table[name] for name in sorted(names or table)}
    folder = Path(tempfile.mkdtemp(prefix="loom-drill-"))
    folder.chmod(0o755)
    site = Small(folder / "home", base or 35000)

    def tell(line: str) -> None:
        click.echo(line, err=True)

    try:
        tell("starting the site")
        site.start()
        wish = drilling.Wish(seed, faults or len(chosen), chosen, minutes)
        report = drilling.run(site, "small", wish, folder / "accountant.jsonl", tell)
    except LoomError as error:
        raise click.ClickException(error.detail) from error
    finally:
        site.stop()
        shutil.rmtree(folder, ignore_errors=True)
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2))
    context.exit(0 if report.passed else 1)
