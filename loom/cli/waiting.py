"""Waiting for the end of a bead, and showing what has become of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import click
from rich.markup import escape

from loom.cli import output
from loom.clients.control import ControlClient
from loom.domain.bead import Bead
from loom.domain.lifecycle import State
from loom.errors import DeadlineExceeded, Unavailable

SETTLED = frozenset({State.CLOSED, State.BLOCKED})
"""States in which nothing more happens by itself."""
LOOK_EVERY_S = 0.2
PATIENCE_S = 30.0


def follow(client: ControlClient, filed: Bead, tell: Callable[[Bead], None]) -> Bead:
    """The bead as it is once nothing more happens to it by itself; tell gets each change.

    A Loom that is away for less than PATIENCE_S is waited for; raises what it says after that.
    """
    last = filed
    tell(last)
    heard = time.monotonic()
    while last.state not in SETTLED:
        time.sleep(LOOK_EVERY_S)
        try:
            now = client.get_bead(filed.id)
        except (Unavailable, DeadlineExceeded):
            if time.monotonic() - heard > PATIENCE_S:
                raise
            continue
        heard = time.monotonic()
        if (now.state, now.epoch) != (last.state, last.epoch):
            tell(now)
        last = now
    return last


def teller(as_json: bool) -> Callable[[Bead], None]:
    """Tells changes on standard error, unless a program reads."""

    def tell(bead: Bead) -> None:
        if not as_json:
            click.echo(f"{bead.id} {output.state_of(bead)}", err=True)

    return tell


def show(found: Bead, more: Sequence[tuple[str, str]] = ()) -> None:
    output.facts(
        (
            ("id", found.id),
            ("project", found.project_id),
            ("title", escape(found.title)),
            ("state", output.coloured(output.state_of(found))),
            ("reason", escape(found.reason)),
            ("taken by", escape(found.assignee)),
            ("waits for", escape(", ".join(found.blocked_by))),
            ("parent", escape(found.parent)),
            ("not before", found.not_before.isoformat() if found.not_before else ""),
            ("commits", "\n".join(f"{c.sha} on {escape(c.branch)}" for c in found.commits)),
            ("attempts", str(found.epoch) if found.epoch else ""),
            ("filed", f"{output.age(found.created_at)} ago"),
            *more,
            ("correlation", escape(found.correlation_id)),
            ("description", escape(found.description)),
        )
    )
