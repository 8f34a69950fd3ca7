"""A commit's tree as git lists it, and a bare-bones repository around a folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_READ_BY_GIT = frozenset({".gitignore", ".gitattributes"})
"""Which git opens in every folder, and would wait for ever on a pipe."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, link or submodule. size: bytes; 0 for a submodule."""

    mode: str
    sha: str
    size: int
    path: bytes


def entries(listed: bytes) -> list[Entry]:
    """What `git ls-tree -r -l -z` printed."""
    found = []
    for line in listed.split(b"\0"):
        if line:
            head, _, path = line.partition(b"\t")
            mode, _, sha, size = head.decode().split()
            found.append(Entry(mode, sha, 0 if size == "-" else int(size), path))
    return found


def make_repository(directory: Path, objects: Path, branch: str, config: str) -> None:
    """Make a repository without a hook or a commit, which borrows those objects."""
    for folder in ("objects/info", "objects/pack", "refs", "info"):
        (directory / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / "objects" / "info" / "alternates").write_text(f"{objects}\n")
    (directory / "HEAD").write_text(f"ref: refs/heads/{branch}\n")
    (directory / "config").write_text(f"{config}[core]\n\trepositoryFormatVersion = 0\n")


def traps(folder: Path) -> Iterator[str]:
    """What git would read in a working tree and cannot: pipes and the like under names it opens."""
    for place, _folders, names in os.walk(folder):
        for name in _READ_BY_GIT.intersection(names):
            path = Path(place) / name
            kind = stat.S_IFMT(path.lstat().st_mode)
            if kind not in {stat.S_IFREG, stat.S_IFLNK}:
                yield str(path.relative_to(folder))
