"""`loom bead run`: file a bead, follow what it writes, and end as it does."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from loom.cli import exits, filing, livelog, output, profile, waiting
from loom.clients.control import ControlClient
from loom.clients.representation import bead_to_json
from loom.domain.bead import Bead
from loom.domain.identity import new_message_id
from loom.domain.lifecycle import Resolution
from loom.domain.log import LogState, PlacedLine
from loom.errors import DeadlineExceeded, Exhausted, Unavailable

LOOK_EVERY_S = 0.3
PATIENCE_S = 30.0
"""How long a Loom that is away is waited for."""
LAST_LINES_S = 2.0
"""How long the end of a log may come after the end of its bead."""

_ENDS = {Resolution.SUCCEEDED: 0, Resolution.CANCELLED: exits.CANCELLED}


@click.command()
@filing.options
@click.option("--cancel-on-interrupt", is_flag=True, help="Ctrl-C cancels it.")
@click.option("--json", "as_json", is_flag=True, help="At its end, the bead; its log is not shown.")
@click.pass_context
def run(
    ctx: click.Context,
    /,
    *,
    project_id: str,
    cancel_on_interrupt: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """File a bead in PROJECT, show what it writes, and end as it does.

    Exit codes: 0 it succeeded, 1 it failed, 6 it was cancelled, 7 it is blocked and waits for a
    person. Ctrl-C (130) leaves it running, unless --cancel-on-interrupt is given.

    \b
    loom bead run shop --title 'Mend the sum' --patch mend.diff
    loom bead run shop --title 'Does it hold?' --verify && git push
    """
    wanted = filing.new(**asked)
    with profile.current().client() as client:
        filed = client.create_bead(project_id, wanted, new_message_id())
        click.echo(f"{filed.id} is filed", err=True)
        try:
            last = _follow(client, filed, as_json=as_json)
        except KeyboardInterrupt:
            if cancel_on_interrupt:
                client.cancel_bead(filed.id, "Ctrl-C in `loom bead run --cancel-on-interrupt`")
                click.echo(f"\n{filed.id} is cancelled", err=True)
                ctx.exit(exits.CANCELLED)
            click.echo(
                f"\n{filed.id} goes on without you. Follow it: loom bead logs -f {filed.id}\n"
                f"Give it up: loom bead cancel {filed.id} --reason '…'",
                err=True,
            )
            ctx.exit(exits.LEFT_RUNNING)
    if as_json:
        output.as_json(bead_to_json(last))
    else:
        why = f": {last.reason}" if last.reason else ""
        click.echo(f"{last.id} {output.state_of(last)}{why}", err=True)
        for commit in last.commits:
            click.echo(f"{commit.sha} on {commit.branch}", err=True)
    ctx.exit(code_of(last))


def code_of(bead: Bead) -> int:
    """The exit code that says how a bead ended, or that it is blocked."""
    if bead.resolution is None:
        return exits.BLOCKED
    return _ENDS.get(bead.resolution, exits.FAILED)


def _follow(client: ControlClient, filed: Bead, *, as_json: bool) -> Bead:
    """The bead once nothing more happens to it by itself, its log shown.

    The log's own stream ends with the bead alone, and not where it waits for a person: so both are
    looked at, in turn.
    """
    colours = sys.stdout.isatty()
    last, cursor, said = filed, "", False
    heard, give_up = time.monotonic(), float("inf")
    while True:
        try:
            # Before the log: what it wrote until it ended is then in there, or about to be.
            now = client.get_bead(filed.id)
            page = None if as_json else client.read_log(filed.id, 0, cursor)
        except (Unavailable, DeadlineExceeded, Exhausted):
            if time.monotonic() - heard > PATIENCE_S:
                raise
            time.sleep(LOOK_EVERY_S)
            continue
        heard = time.monotonic()
        if (now.state, now.epoch) != (last.state, last.epoch) and not as_json:
            click.echo(f"{now.id} {output.state_of(now)}", err=True)
        last = now
        settled = now.state in waiting.SETTLED
        if page is None:
            if settled:
                return now
        else:
            for placed in page.lines:
                _show(placed, colours=colours)
            said = said or bool(page.lines)
            cursor = str(page.next) if page.next.epoch else ""
            if page.state is LogState.MORE:
                continue
            if settled:
                give_up = min(give_up, heard + LAST_LINES_S)
                ended = page.state is LogState.ENDED or not now.epoch
                if ended or heard > give_up:
                    return now
        time.sleep(LOOK_EVERY_S)


def _show(placed: PlacedLine, *, colours: bool) -> None:
    click.echo(livelog.shown(placed.line, colours=colours), nl=False, color=colours)
