"""The report files of a step: which there are, whether they are new, and what is in them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from workers import beneath
from workers.reports.tally import Unreadable

MAX_FILES = 5_000

Place = tuple[str, str]
"""A file: in the checkout or in the exchange, and its name below that."""
Mark = tuple[int, int, int, int]
"""What changes when a file is written anew: inode, size, times of its content and of its entry."""


class Files:
    """The files below the checkout and the exchange, through which no link leads out."""

    def __init__(self, checkout: Path, exchange: Path) -> None:
        self._roots = {"checkout": checkout, "exchange": exchange}

    def matching(self, patterns: Iterable[str], faults: list[str] | None = None) -> list[Place]:
        """Those that match, in their order."""
        told = [] if faults is None else faults
        wanted: dict[str, list[str]] = {}
        for pattern in patterns:
            root, name = self._below(pattern)
            if not name or ".." in name.split("/"):
                told.append(f"the reports {pattern[:200]!r} are not below the checkout's root")
            else:
                wanted.setdefault(root, []).append(name)
        places: list[Place] = []
        for root, names in wanted.items():
            found = beneath.find(self._roots[root], names)
            places += [(root, name) for name in found.names]
            if not found.complete:
                told.append("not everything could be searched for reports")
        if len(places) > MAX_FILES:
            told.append(f"{len(places)} report files: the first {MAX_FILES} are read")
        return places[:MAX_FILES]

    def _below(self, pattern: str) -> Place:
        if not pattern.startswith("/"):
            return "checkout", pattern.removeprefix("./")
        for root, folder in self._roots.items():
            if pattern.startswith(f"{folder}/"):
                return root, pattern.removeprefix(f"{folder}/")
        return "", ""

    def mark(self, place: Place) -> Mark | None:
        """What tells whether it is written anew; None for what cannot be opened."""
        try:
            with beneath.opened(self._roots[place[0]], place[1]) as file:
                facts = os.fstat(file.fileno())
        except OSError:
            return None
        return facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns

    def content(self, place: Place, most: int) -> bytes:
        """All of it. Raises Unreadable if it is more than that, and OSError."""
        with beneath.opened(self._roots[place[0]], place[1]) as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise Unreadable(f"it is larger than {most} bytes")
        return content
