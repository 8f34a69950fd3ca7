"""The files below a folder that untrusted code has written to: no symbolic link leads out of it.

Every folder on the way is opened from the one before it without following links, so that what a
path means is decided by the kernel at the moment of use, and by nothing that was looked up before.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from loom.domain.actions import check_path
from loom.errors import Invalid
from workers import beneath
from workers.beneath import Refused

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
PLAIN, EXECUTABLE = 0o644, 0o755


@dataclass(frozen=True, slots=True)
class Files:
    """Reads and changes files by their paths below root.

    All raise Invalid for a path that is none below root, that a symbolic link stands in the way of,
    or where there is not what has to be there; and OSError where the disk does not let them.
    """

    root: Path

    def read(self, name: str, limit: int) -> bytes:
        """What the file holds; raises Invalid if that is more than limit bytes."""
        with self._beside(name) as (folder, last):
            kind = _kind(folder, last)
        if kind != "a file":
            raise Invalid(f"{name!r} is {kind or 'not there'}")
        try:
            with beneath.opened(self.root, name) as file:
                content = file.read(limit + 1)
        except Refused as refused:  # it was another thing a moment ago
            raise Invalid(str(refused)) from refused
        if len(content) > limit:
            raise Invalid(f"{name!r} is larger than {limit} bytes")
        return content

    def write(self, name: str, content: bytes, mode: int | None = None) -> None:
        """Write the whole file, in folders that are made where they are missing.

        mode: 0o644 or 0o755; None: executable if the file was.
        """
        with self._beside(name, make=True) as (folder, last):
            kind = _kind(folder, last)
            if kind not in {"", "a file"}:
                raise Invalid(f"{name!r} is {kind}: only a file is written over")
            if mode is None:
                mode = EXECUTABLE if kind and _runs(folder, last) else PLAIN
            new = f".loom-{secrets.token_hex(8)}"
            with os.fdopen(os.open(new, _NEW, mode, dir_fd=folder), "wb") as file:
                try:
                    file.write(content)
                    file.flush()
                    os.fchmod(file.fileno(), mode)
                    os.replace(new, last, src_dir_fd=folder, dst_dir_fd=folder)
                except OSError:
                    with suppress(OSError):
                        os.unlink(new, dir_fd=folder)
                    raise

    def delete(self, name: str) -> None:
        """Delete a file, or a symbolic link without what it leads to."""
        with self._beside(name) as (folder, last):
            _movable(name, _kind(folder, last))
            os.unlink(last, dir_fd=folder)

    def move(self, name: str, to: str) -> None:
        """Give a file or a symbolic link another path, where nothing is."""
        with self._beside(name) as (folder, last):
            _movable(name, _kind(folder, last))
            with self._beside(to, make=True) as (other, new):
                if kind := _kind(other, new):
                    raise Invalid(f"{to!r} is there already, as {kind}")
                os.rename(last, new, src_dir_fd=folder, dst_dir_fd=other)

    @contextmanager
    def _beside(self, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """The opened folder of a path, and the path's last name."""
        *parents, last = check_path(name).split("/")
        folder = os.open(self.root, _FOLDER)
        try:
            for depth, part in enumerate(parents, 1):
                place = "/".join(parents[:depth])
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=folder)
                inner = _inner(folder, part, place)
                os.close(folder)
                folder = inner
            yield folder, last
        finally:
            os.close(folder)


def _inner(folder: int, part: str, place: str) -> int:
    try:
        return os.open(part, _FOLDER, dir_fd=folder)
    except OSError:
        kind = _kind(folder, part)
        if kind == "a folder":
            raise
        raise Invalid(
            f"{place!r} is {kind}, and no path leads through it" if kind
            else f"there is no folder {place!r}"
        ) from None  # fmt: skip


def _kind(folder: int, name: str) -> str:
    """What stands there, in words; empty for nothing."""
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return ""
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFLNK: "a symbolic link"}
    return kinds.get(stat.S_IFMT(mode), "a special file")


def _runs(folder: int, name: str) -> bool:
    mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    return bool(mode & stat.S_IXUSR)


def _movable(name: str, kind: str) -> None:
    if kind not in {"a file", "a symbolic link"}:
        raise Invalid(f"{name!r} is {kind}" if kind else f"there is no file {name!r}")
