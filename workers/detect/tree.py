"""A checkout as detection sees it: the names of its files, and the beginning of a few of them."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

MAX_FILE_BYTES = 1024 * 1024
MAX_FILES = 20_000
MAX_DEPTH = 6
PASSED_OVER = frozenset(
    {".git", ".hg", "node_modules", ".venv", "venv", ".tox", ".nox", "target", "__pycache__",
     "vendor", "third_party", ".mypy_cache", ".ruff_cache", ".pytest_cache", "site-packages"}
)  # fmt: skip
"""Folders that hold what others wrote, or what tools made."""


@dataclass(frozen=True)
class Tree:
    """Files below a root, by their paths with '/'; nothing of it is ever run or followed.

    names: of regular files. read_bytes: the content of one of them. links: names of symbolic links
    at its root.
    """

    names: frozenset[str]
    read_bytes: Callable[[str], bytes]
    links: frozenset[str] = frozenset()

    @classmethod
    def of(cls, files: Mapping[str, str]) -> Tree:
        """A tree from the contents of its files."""
        return cls(frozenset(files), lambda name: files[name].encode())

    @classmethod
    def at(cls, root: Path) -> Tree:
        """The tree of a folder; raises OSError when it cannot be listed."""
        links = frozenset(entry.name for entry in os.scandir(root) if entry.is_symlink())
        return cls(frozenset(_listed(root)), lambda name: _content(root, name), links)

    def has(self, *names: str) -> str:
        """The first of those files that is there, or nothing."""
        return next((name for name in names if name in self.names), "")

    def like(self, *patterns: str) -> tuple[str, ...]:
        """The files whose paths match a pattern, sorted; `*` also matches '/'."""
        return tuple(
            sorted(n for n in self.names if any(fnmatch.fnmatchcase(n, p) for p in patterns))
        )

    def read(self, name: str) -> str:
        """The beginning of a file as text; empty where there is none that can be read."""
        if name not in self.names:
            return ""
        try:
            return self.read_bytes(name)[:MAX_FILE_BYTES].decode(errors="replace")
        except OSError:
            return ""


def _listed(root: Path) -> Iterator[str]:
    """Regular files, nearest first; no link is followed, and a huge tree is cut short."""
    count, level = 0, [("", root)]
    for _depth in range(MAX_DEPTH):
        deeper: list[tuple[str, Path]] = []
        for prefix, folder in level:
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError:
                continue
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    count += 1
                    yield prefix + entry.name
                elif entry.is_dir(follow_symlinks=False) and entry.name not in PASSED_OVER:
                    deeper.append((f"{prefix}{entry.name}/", Path(entry.path)))
                if count >= MAX_FILES:
                    return
        level = deeper


def _content(root: Path, name: str) -> bytes:
    """The beginning of a regular file; every folder on the way is opened without following a link,
    as what is read goes into messages that leave the machine.
    """
    *folders, last = name.split("/")
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for folder in folders:
            inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = inner
        file = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    finally:
        os.close(at)
    with os.fdopen(file, "rb") as stream:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return b""
        return stream.read(MAX_FILE_BYTES)
