"""Files below a folder that untrusted commands wrote: found and opened without leaving it.

Every folder and file is opened relative to the folder above it and no link is followed, so that
neither a link nor a folder that is swapped meanwhile leads anywhere else. Source: openat(2), path
resolution with O_NOFOLLOW.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO

MAX_DEPTH = 64
MAX_ENTRIES = 200_000
"""Names that are looked at in one search, whatever a command left."""
NEVER = frozenset({".git"})
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Found:
    """Names of files relative to the folder, sorted. unmatched: patterns without a file.

    complete: everything was looked at.
    """

    names: tuple[str, ...]
    unmatched: tuple[str, ...]
    complete: bool


class Refused(OSError):
    """What the name leads to is no regular file, or is not below the folder."""


def find(folder: Path, patterns: Sequence[str]) -> Found:
    """The regular files below the folder that match a pattern.

    A pattern is a path with `*`, `?` and `[…]` within a name, and `**` for any folders; one that
    ends in `/` means all below. Links, and what git keeps, are never found.
    """
    search = _Search(tuple(dict.fromkeys(patterns)))
    with suppress(OSError):
        root = os.open(folder, _FOLDER)
        try:
            search.walk(root, (), search.begin())
        finally:
            os.close(root)
    return Found(
        tuple(sorted(search.names)),
        tuple(one for one in search.patterns if one not in search.matched),
        search.complete,
    )


@contextmanager
def opened(folder: Path, name: str) -> Iterator[BinaryIO]:
    """The regular file of that name below the folder; raises Refused, or OSError."""
    parts = name.split("/")
    if any(part in {"", ".", ".."} for part in parts):
        raise Refused(f"{name!r} is no path below the folder")
    at = os.open(folder, _FOLDER)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _FOLDER, dir_fd=at)
            os.close(at)
            at = inner
        # Without waiting: a pipe has nobody at its other end.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        descriptor = os.open(parts[-1], flags, dir_fd=at)
    finally:
        os.close(at)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Refused(f"{name!r} is no regular file")
        yield file


class _Search:
    """Walks with the places reached in each pattern, so that no folder is entered in vain."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self.patterns = patterns
        self.names: list[str] = []
        self.matched: set[str] = set()
        self.complete = True
        self._left = MAX_ENTRIES
        self._parts = [(one + "**" if one.endswith("/") else one).split("/") for one in patterns]

    def begin(self) -> list[set[int]]:
        return [self._past(index, {0}) for index in range(len(self.patterns))]

    def walk(self, at: int, above: tuple[str, ...], places: list[set[int]]) -> None:
        with os.scandir(at) as entries:
            for entry in entries:
                self._left -= 1
                if self._left < 0:
                    self.complete = False
                    return
                if entry.name in NEVER:
                    continue
                reached = [self._step(i, of, entry.name) for i, of in enumerate(places)]
                if entry.is_dir(follow_symlinks=False):
                    if any(reached):
                        self._enter(at, (*above, entry.name), reached)
                elif entry.is_file(follow_symlinks=False):
                    self._take("/".join((*above, entry.name)), reached)

    def _enter(self, at: int, names: tuple[str, ...], places: list[set[int]]) -> None:
        if len(names) > MAX_DEPTH:
            self.complete = False
            return
        try:
            inner = os.open(names[-1], _FOLDER, dir_fd=at)
        except OSError:
            self.complete = False
            return
        try:
            self.walk(inner, names, places)
        finally:
            os.close(inner)

    def _take(self, name: str, places: list[set[int]]) -> None:
        fits = {
            pattern
            for pattern, parts, reached in zip(self.patterns, self._parts, places, strict=True)
            if len(parts) in reached
        }
        if fits:
            self.names.append(name)
            self.matched |= fits

    def _step(self, index: int, places: set[int], name: str) -> set[int]:
        """The places in the pattern after one more name."""
        parts, after = self._parts[index], set()
        for place in places:
            if place == len(parts):
                continue
            if parts[place] == "**":
                after.add(place)
            elif fnmatchcase(name, parts[place]):
                after.add(place + 1)
        return self._past(index, after)

    def _past(self, index: int, places: set[int]) -> set[int]:
        """With those that are reached as `**` may stand for no folder at all."""
        parts, reached = self._parts[index], set(places)
        for place in range(len(parts)):
            if place in reached and parts[place] == "**":
                reached.add(place + 1)
        return reached
