"""Ids as arguments: a shell that completes them asks Loom, and says nothing if that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from loom.cli import profile
from loom.domain.listing import BeadFilter
from loom.errors import LoomError

if TYPE_CHECKING:
    from loom.clients.control import ControlClient

TIMEOUT_S = 2.0
OFFERED = 100


class Known(click.ParamType[str]):
    """An id that is passed on as it is. offer: ids that begin so, each with a few words."""

    name = "text"

    def __init__(self, offer: Callable[[ControlClient, str], Iterable[tuple[str, str]]]) -> None:
        self._offer = offer

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """The id; whether there is such a one is Loom's to say."""
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """What a Loom that answers at once offers."""
        try:
            with ctx.scope(), profile.current().client(timeout_s=TIMEOUT_S) as client:
                return [
                    CompletionItem(id_, help=words)
                    for id_, words in self._offer(client, incomplete)
                    if id_.startswith(incomplete)
                ]
        except (LoomError, OSError):
            return []


def _projects(client: ControlClient, _begun: str) -> list[tuple[str, str]]:
    return [(each.id, each.name) for each in client.list_projects(limit=OFFERED).items]


def _beads(client: ControlClient, begun: str) -> list[tuple[str, str]]:
    # Every id that Loom makes begins so: then the newest are as good as a search.
    where = BeadFilter(text="" if "bd-".startswith(begun) else begun)
    return [(each.id, each.title) for each in client.list_beads(limit=OFFERED, where=where).items]


PROJECT, BEAD = Known(_projects), Known(_beads)
