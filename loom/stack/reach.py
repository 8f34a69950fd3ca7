"""Lets the users that services run as reach code and state that lie in closed folders.

Root may have cloned Loom under /root or `mktemp -d`, which nobody else can enter, while PostgreSQL
and agents must not run as root. The stack then runs in a mount namespace of its own, where each
closed folder is an open, empty one that holds only what the stack needs, at the same paths. The
folder itself and every other process stay as they are. Source: mount_namespaces(7), mount(2).
"""

from __future__ import annotations

import ctypes
import json
import os
import stat
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from loom.errors import Unavailable

CLONE_NEWNS = 0x00020000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 1 << 18
MAX_LINKS = 40
"""Symbolic links in one path, as the kernel counts them (ELOOP)."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What has to be laid open: the closed folders, and what is wanted of them."""

    closed: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """Symbolic links on the way, as (path, what it points to)."""

    def as_json(self) -> str:
        """The text that `main` takes."""
        return json.dumps([self.closed, self.wanted, self.links])

    @classmethod
    def from_json(cls, text: str) -> Reach:
        """What as_json gave."""
        closed, wanted, links = json.loads(text)
        return cls(tuple(closed), tuple(wanted), tuple((a, b) for a, b in links))


def survey(paths: Iterable[Path]) -> Reach:
    """What keeps other users from the paths; an empty Reach if nothing does.

    Raises Unavailable if one of the paths is itself closed to them, since no mount changes that.
    """
    closed: dict[str, None] = {}
    wanted: dict[str, None] = {}
    links: dict[str, str] = {}
    for path in paths:
        gate = ""
        found: dict[str, str] = {}
        followed = 0
        place = Path("/")
        parts = list(path.parts[1:])
        while parts:
            here = place / parts.pop(0)
            mode = here.lstat().st_mode
            if stat.S_ISLNK(mode):
                followed += 1
                if followed > MAX_LINKS:
                    raise Unavailable(f"{path} has too many symbolic links")
                target = here.readlink()
                found[str(here)] = str(target)
                # A relative target counts from the folder of its link.
                joined = Path(os.path.normpath(place / target))
                parts = [*joined.parts[1:], *parts]
                place = Path("/")
                continue
            place = here
            if parts and not gate and not mode & stat.S_IXOTH:
                gate = str(here)
                closed[gate] = None
        mode = place.stat().st_mode
        if not mode & (stat.S_IXOTH if stat.S_ISDIR(mode) else stat.S_IROTH):
            raise Unavailable(
                f"{place} is closed to other users, and Loom does not run its services as root. "
                f"Open it with `chmod -R go+rX {place}`",
                path=str(place),
            )
        wanted[str(place)] = None
        links |= found
    inside = [path for path in wanted if _under(path, closed)]
    # What lies in a folder that is wanted itself comes with it.
    inside = [path for path in inside if not _under(path, inside)]
    ways = [(path, to) for path, to in links.items() if _under(path, closed)]
    ways = [(path, to) for path, to in ways if not _under(path, inside)]
    return Reach(tuple(closed), tuple(sorted(inside)), tuple(sorted(ways)))


def _under(path: str, folders: Iterable[str]) -> bool:
    return any(path.startswith(folder.rstrip("/") + "/") for folder in folders)


def enter(reach: Reach) -> None:
    """Put this process into a mount namespace where what is wanted can be reached.

    Raises Unavailable where this process may not make one, as in most containers.
    """
    try:
        _libc("unshare", CLONE_NEWNS)
        _mount("none", "/", None, MS_REC | MS_PRIVATE)
        opened = [(path, os.open(path, os.O_PATH)) for path in reach.wanted]
        kinds = {path: Path(path).is_dir() for path in reach.wanted}
        for folder in reach.closed:
            _mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m")
        for path, descriptor in opened:
            place = Path(path)
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            if kinds[path]:
                place.mkdir(exist_ok=True, mode=0o755)
            else:
                place.touch()
            _mount(f"/proc/self/fd/{descriptor}", path, None, MS_BIND | MS_REC)
            os.close(descriptor)
        for path, target in reach.links:
            Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            Path(path).symlink_to(target)
    except OSError as error:
        folders = ", ".join(reach.closed)
        raise Unavailable(
            f"other users cannot enter {folders}, so services cannot run from there, and this "
            f"machine does not let root lay open a view of it ({error}). Clone Loom to a folder "
            "that everybody may enter, such as /srv/loom or /opt/loom, with a Python that is "
            "installed for everybody, and set LOOM_HOME to a folder of that kind",
            folders=folders,
        ) from error


def command(reach: Reach) -> list[str]:
    """The argv to put in front of another, which then runs with that reach."""
    if not reach.closed:
        return []
    return [sys.executable, "-P", "-m", "loom.stack.reach", reach.as_json()]


def _mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    _libc(
        "mount",
        source.encode(),
        os.fsencode(target),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        data.encode() or None,
    )


def _libc(function: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments):
        code = ctypes.get_errno()
        raise OSError(code, f"{function}: {os.strerror(code)}")


def main() -> None:
    """Enter the reach that the first argument tells, then become the rest of the arguments."""
    os.umask(0o022)
    try:
        enter(Reach.from_json(sys.argv[1]))
    except Unavailable as error:
        sys.exit(error.detail)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606


if __name__ == "__main__":
    main()
