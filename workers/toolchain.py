"""Which folders a command has to read so that the programs of its PATH work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

_SYSTEM = tuple(map(Path, ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc")))
"""What of these a command may read is not for its PATH to say."""
_BINARIES = frozenset({"bin", "sbin", "shims"})
_OF_A_PREFIX = ("lib", "lib64", "libexec", "pyvenv.cfg")
"""What a folder has beside `bin` where software is installed in it."""
_MOST_LINKS = 4_000


def readable(path: str, hidden: Sequence[Path]) -> tuple[Path, ...]:
    """The folders outside of the system's own, each once and none below another.

    path: as in PATH. Of an entry `<prefix>/bin` it is the prefix if software is installed there (a
    virtual environment, /opt/node), else the entry alone; and the same of what its links lead to,
    as a virtual environment's python does. Never a folder that is hidden, or that holds one.
    """
    found: set[Path] = set()
    entries = [Path(entry) for entry in path.split(os.pathsep) if entry.startswith("/")]
    for entry in entries:
        if entry.is_dir():
            for folder in (entry, *_led_to(entry)):
                found |= set(_homes(folder, hidden))
    return tuple(sorted(place for place in found if not any(one in place.parents for one in found)))


def _homes(folder: Path, hidden: Sequence[Path]) -> Iterator[Path]:
    """The folder's prefix or, where that is none, the folder: as it is named, and as it is."""
    for place in dict.fromkeys((folder, folder.resolve())):
        if _of_the_system(place):
            continue
        prefix = place.parent
        installed = place.name in _BINARIES and any(
            (prefix / name).exists() for name in _OF_A_PREFIX
        )
        if installed and not _is_a_home(prefix) and not _shows(prefix, hidden):
            yield prefix
        elif not _shows(place, hidden):
            yield place


def _led_to(entry: Path) -> set[Path]:
    """The folders of the programs that the entry's links lead to, by every link on the way."""
    folders: set[Path] = set()
    with suppress(OSError), os.scandir(entry) as found:
        for count, link in enumerate(found):
            if count >= _MOST_LINKS:
                break
            place = Path(link.path)
            for _ in range(8):
                if not place.is_symlink():
                    break
                place = Path(os.path.normpath(place.parent / place.readlink()))
                folders.add(place.parent)
    return {folder for folder in folders if not _of_the_system(folder) and folder.is_dir()}


def _of_the_system(place: Path) -> bool:
    return any(place == part or part in place.parents for part in _SYSTEM)


def _is_a_home(place: Path) -> bool:
    return (
        place == Path("/")
        or place.parent in {Path("/home"), Path("/")}
        or (
            place.name in {".local", ".cargo"}  # beside programs they hold keys
        )
    )


def _shows(place: Path, hidden: Sequence[Path]) -> bool:
    return place == Path("/") or any(place == one or place in one.parents for one in hidden)
