"""What the side of every page leads to; an entry shows once its page is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from flask import Flask
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from loom.control import operation


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the menu. key: pressed after g, it leads there."""

    name: str
    path: str
    icon: str
    key: str


@dataclass(frozen=True, slots=True)
class Group:
    """Lines that belong together."""

    name: str
    entries: tuple[Entry, ...]


GROUPS = (
    Group("", (Entry("Overview", "/", "layout-dashboard", "o"),)),
    Group(
        "Work",
        (
            Entry("Beads", "/beads", "circle-dot", "b"),
            Entry("Projects", "/projects", "folder-git-2", "p"),
            Entry("Agents", "/agents", "bot", "a"),
        ),
    ),
    Group(
        "Delivery",
        (
            Entry("Queues", "/queues", "layers", "q"),
            Entry("Dead letters", "/dead-letters", "mail-x", "d"),
            Entry("Services", "/services", "server", "s"),
        ),
    ),
    Group(
        "Records",
        (
            Entry("Events", "/events", "radio", "e"),
            Entry("Webhooks", "/events/webhooks", "webhook", "w"),
            Entry("Audit", "/audit", "scroll-text", "u"),
            Entry("Access", "/access", "key-round", "k"),
        ),
    ),
)


def shown(
    app: Flask,
    groups: Iterable[Group] = GROUPS,
    *,
    open_to: Callable[[operation.Operation], bool] = lambda _: True,
) -> tuple[Group, ...]:
    """The menu, of the pages that the app has. open_to: whether who looks may open such a one."""
    found = ((group, tuple(_there(app, group.entries, open_to))) for group in groups)
    return tuple(Group(group.name, entries) for group, entries in found if entries)


def entry_of(path: str) -> str:
    """The address of the entry that a page belongs to: the longest that leads to it; or empty."""
    paths = [entry.path for group in GROUPS for entry in group.entries]
    found = [
        each for each in paths if path == each or (each != "/" and path.startswith(f"{each}/"))
    ]
    return max(found, key=len, default="")


def _there(
    app: Flask, entries: Iterable[Entry], open_to: Callable[[operation.Operation], bool]
) -> Iterator[Entry]:
    adapter = app.url_map.bind("")
    for entry in entries:
        try:
            endpoint, _ = adapter.match(entry.path, method="GET")
        except RequestRedirect:
            continue
        except HTTPException:
            continue
        declared = operation.of(app.view_functions[endpoint])
        if declared is None or open_to(declared):
            yield entry
