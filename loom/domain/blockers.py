"""Which bead waits for which: what has to succeed first, and no circles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from loom.errors import Invalid


def find_cycle(waits_for: Mapping[str, Iterable[str]], begin: Iterable[str]) -> tuple[str, ...]:
    """A circle that can be reached from these beads, its first bead also last; empty: none."""
    done: set[str] = set()
    for root in begin:
        path: list[str] = []
        on_path: set[str] = set()
        ahead: list[tuple[str, bool]] = [(root, False)]
        while ahead:
            bead, left = ahead.pop()
            if left:
                done.add(bead)
                on_path.discard(path.pop())
                continue
            if bead in on_path:
                return (*path[path.index(bead) :], bead)
            if bead in done:
                continue
            path.append(bead)
            on_path.add(bead)
            ahead.append((bead, True))
            ahead += ((blocker, False) for blocker in waits_for.get(bead, ()))
    return ()


def check_no_cycle(waits_for: Mapping[str, Iterable[str]], begin: Iterable[str]) -> None:
    """Raise Invalid, naming the circle, if one can be reached from these beads."""
    cycle = find_cycle(waits_for, begin)
    if cycle:
        raise Invalid(
            f"these beads would wait for each other for ever: {' -> '.join(cycle)}, each for the "
            "next. Leave one of them out of blocked_by, or out of its parent",
            field="blocked_by",
            cycle=" ".join(cycle),
        )
