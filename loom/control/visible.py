"""The ledger as who asks may see it: lists keep to the projects that they have a role in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from flask import has_request_context

from loom.clients.answers import Page
from loom.control import access
from loom.domain.listing import ALL, BeadFilter

if TYPE_CHECKING:
    from loom.control.ledger import Ledger


def scope(project_id: str = "") -> tuple[str, ...]:
    """The projects that the current request may look at, out of all or that one; empty: all of
    them. Raises NotFound for one that it may not.

    Whoever may look at none has not come through the door of a view that lists.
    """
    shown = access.principal().visible() if has_request_context() else None
    if shown is None:
        return (project_id,) if project_id else ()
    if not project_id:
        if not shown:
            access.refuse("you have no role in any project: ask an admin of Loom for one")
        return tuple(sorted(shown))
    if project_id not in shown:
        raise access.no_project(project_id)
    return (project_id,)


class Visible:
    """A ledger whose lists leave out what who asks may not see; everything else is as it is."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def list_projects(self, page_size: int = 100, cursor: str = "", ids: Sequence[str] = ()) -> Any:
        """Those that may be seen."""
        shown = scope()
        if shown and ids:
            shown = tuple(id_ for id_ in shown if id_ in ids) or ("",)
        return self._ledger.list_projects(page_size, cursor, shown or ids)

    def list_beads(
        self, project_id: str = "", *rest: Any, where: BeadFilter = ALL, **more: Any
    ) -> Any:
        """Those of projects that may be seen."""
        shown = scope(project_id)
        if shown and not project_id:
            wanted = tuple(id_ for id_ in where.projects if id_ in shown)
            if where.projects and not wanted:
                return Page(())
            where = replace(where, projects=wanted or shown)
        return self._ledger.list_beads(project_id, *rest, where=where, **more)

    def list_agents(self, project_id: str = "", *rest: Any, **more: Any) -> Any:
        """Those of projects that may be seen."""
        return self._ledger.list_agents(
            project_id, *rest, **more | {"project_ids": scope(project_id)}
        )

    def list_dead_letters(self, project_id: str = "", *rest: Any, **more: Any) -> Any:
        """Those of projects that may be seen."""
        return self._ledger.list_dead_letters(
            project_id, *rest, **more | {"project_ids": scope(project_id)}
        )

    def list_dead_letter_groups(self, project_id: str = "", *rest: Any, **more: Any) -> Any:
        """Those of projects that may be seen."""
        return self._ledger.list_dead_letter_groups(
            project_id, *rest, **more | {"project_ids": scope(project_id)}
        )


def of(ledger: Ledger) -> Ledger:
    """The ledger as who asks may see it."""
    return cast("Ledger", Visible(ledger))
