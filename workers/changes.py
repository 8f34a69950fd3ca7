"""What an attempt changed: file by file, counted, and as a diff of limited length."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

GITLINK = "160000"
"""The mode of an entry that names a commit of another repository."""


class How(StrEnum):
    """What became of a file; the letters are git's."""

    ADDED = "A"
    COPIED = "C"
    DELETED = "D"
    MODIFIED = "M"
    RENAMED = "R"
    TYPE = "T"
    """Another kind of file, as a link in place of a file."""


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file. insertions, deletions: in lines; both 0 for a binary file. was: before a rename."""

    path: str
    how: How
    insertions: int = 0
    deletions: int = 0
    binary: bool = False
    was: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """From the parent commit to the tree. diff: as `git apply` takes it, unless it is truncated."""

    parent: str
    tree: str
    files: tuple[FileChange, ...] = ()
    diff: str = ""
    truncated: bool = False

    def __bool__(self) -> bool:
        return bool(self.files)

    @property
    def insertions(self) -> int:
        """Lines."""
        return sum(each.insertions for each in self.files)

    @property
    def deletions(self) -> int:
        """Lines."""
        return sum(each.deletions for each in self.files)

    def summary(self) -> str:
        """As `git diff --shortstat` has it, and the first files."""
        names = [f"{each.how} {each.path}" for each in self.files[:20]]
        more = len(self.files) - len(names)
        head = f"{len(self.files)} files changed, {self.insertions} insertions(+), "
        return "\n".join(
            [f"{head}{self.deletions} deletions(-)", *names, *([f"and {more} more"] * (more > 0))]
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of `git diff-tree --raw`: what a path was and is. sha, mode: zeros for nothing."""

    old_mode: str
    mode: str
    sha: str
    how: str
    path: bytes
    was: bytes = b""

    @property
    def is_gitlink(self) -> bool:
        """Another repository was there, or is."""
        return GITLINK in {self.old_mode, self.mode}


def entries(raw: bytes) -> list[Entry]:
    """What `git diff-tree -r -z --raw` printed, with or without --numstat after it."""
    found = []
    parts = iter(raw.split(b"\0"))
    for part in parts:
        if not part.startswith(b":"):
            continue
        old_mode, mode, _, sha, how = part[1:].decode().split(" ")
        path, was = next(parts), b""
        if how[0] in "RC":
            was, path = path, next(parts)
        found.append(Entry(old_mode, mode, sha, how[0], path, was))
    return found


def files(raw: bytes) -> tuple[FileChange, ...]:
    """What `git diff-tree -r -z --raw --numstat` printed."""
    counts = _counts(raw)
    changed = []
    for entry in entries(raw):
        added, removed = counts.get(entry.path, (b"0", b"0"))
        changed.append(
            FileChange(
                name(entry.path),
                How(entry.how),
                0 if added == b"-" else int(added),
                0 if removed == b"-" else int(removed),
                binary=added == b"-",
                was=name(entry.was),
            )
        )
    return tuple(changed)


def name(path: bytes) -> str:
    """A path as it can be shown and sent: what is not UTF-8 is replaced."""
    return path.decode(errors="replace")


def _counts(raw: bytes) -> dict[bytes, tuple[bytes, bytes]]:
    counts = {}
    parts = iter(raw.split(b"\0"))
    for part in parts:
        if part.startswith(b":"):
            next(parts)
            if part.split(b" ")[-1][:1] in b"RC":
                next(parts)
        elif part:
            added, removed, path = part.split(b"\t", 2)
            if not path:  # a rename: the old name, and the new
                next(parts)
                path = next(parts)
            counts[path] = (added, removed)
    return counts
