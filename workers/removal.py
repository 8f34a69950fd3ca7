"""Removing a folder that untrusted commands wrote to: of any depth, and whatever rights are in it.

Nothing may write there any more. No link is followed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(folder: Path) -> bool:
    """Remove it with all that is below it; False if something of it could not be removed."""
    with suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if not folder.exists():
        return True
    # It is deeper than the stack or the number of open files allows, or holds folders that even
    # their owner may not change or look into.
    with suppress(OSError):
        folder.chmod(stat.S_IRWXU)
        with _opened(folder) as top:
            while _clear(top):
                pass
        folder.rmdir()
    return not folder.exists()


def _clear(top: int) -> bool:
    """Empty each folder into the topmost one, and remove it; whether that did anything."""
    did = False
    for name, is_folder in _entries(top):
        with suppress(OSError):
            if is_folder:
                _empty_into(top, name)
                os.rmdir(name, dir_fd=top)
            else:
                os.unlink(name, dir_fd=top)
            did = True
    return did


def _empty_into(top: int, name: str) -> None:
    """Move the folders of a folder up, so that none is ever deeper than one below the topmost."""
    os.chmod(name, stat.S_IRWXU, dir_fd=top)
    with _opened(name, top) as folder:
        for inner, is_folder in _entries(folder):
            if is_folder:
                # Where it lies is written in the folder itself, so it has to be writable.
                os.chmod(inner, stat.S_IRWXU, dir_fd=folder)
                os.rename(inner, secrets.token_hex(16), src_dir_fd=folder, dst_dir_fd=top)
            else:
                os.unlink(inner, dir_fd=folder)


def _entries(folder: int) -> list[tuple[str, bool]]:
    with os.scandir(folder) as entries:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]


@contextmanager
def _opened(name: str | Path, folder: int | None = None) -> Iterator[int]:
    descriptor = os.open(name, _FOLDER, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
