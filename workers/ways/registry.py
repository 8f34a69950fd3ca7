"""Which ways to work are installed, and which of them a bead is worked on by.

Installed are the entry points of the group `loom.ways`, Loom's own and those of other packages.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from loom.domain.project import Project
from loom.errors import Invalid, Unavailable
from workers.ways.way import Way

GROUP = "loom.ways"


def installed() -> tuple[str, ...]:
    """The names of all ways to work, sorted."""
    return tuple(sorted(entry_points(group=GROUP).names))


def choose(context: Mapping[str, Any], project: Project) -> str:
    """The name of the way to work on a bead with this context; raises Invalid.

    It is context.way; else what the context brings along, a patch or actions; else the command of
    a project that has one; else verify.
    """
    named = context.get("way")
    if named is not None:
        if not isinstance(named, str):
            raise Invalid("context.way has to be text, the name of a way to work")
        return named
    brought = [name for name in ("patch", "actions") if _has(context.get(name))]
    if len(brought) > 1:
        raise Invalid(
            "the context has a patch and actions: put the patch into an action of the type "
            "apply_patch, or name one of them by context.way"
        )
    return brought[0] if brought else "command" if project.rules.command else "verify"


def load(name: str) -> Way:
    """A new way of this name; raises Invalid if none is installed, Unavailable if it is broken."""
    found = tuple(entry_points(group=GROUP, name=name))
    if not found:
        raise Invalid(
            f"no way to work is called {name[:80]!r}; this agent has {', '.join(installed())}"
        )
    # An editable installation may show the same entry point twice.
    if len({entry.value for entry in found}) > 1:
        packages = ", ".join(sorted(map(_package, found)))
        raise Unavailable(f"several packages have a way to work called {name!r}: {packages}")
    (entry, *_) = found
    try:
        way = entry.load()()
    except (Exception, SystemExit) as error:  # whatever foreign code raises while it is imported
        raise Unavailable(
            f"the way to work {name!r} of {_package(entry)} cannot be loaded: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not _is_way(way):
        raise Unavailable(
            f"the way to work {name!r} of {_package(entry)} is none: {entry.value} has to be a "
            "class like workers.ways.way.Way, with check, work and commits"
        )
    return way  # type: ignore[no-any-return]  # as far as a look at it can tell


def _has(value: object) -> bool:
    return bool(value.strip()) if isinstance(value, str) else value is not None


def _is_way(made: object) -> bool:
    return all(callable(getattr(made, name, None)) for name in ("check", "work")) and isinstance(
        getattr(made, "commits", None), bool
    )


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unnamed package"
