"""The folder of one drill: gone with all that ran in it when the drill ends, however it ends."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loom.drill.volumes import Volumes
from loom.stack import remains
from loom.stack.home import Home

PREFIX = "loom-drill-"
OWNER = "owner"
"""The file that names the drill whose folder it is."""
HOME, RECORD = "home", "accountant.jsonl"
KEPT = (RECORD, "home/effects/effects")


@contextmanager
def folder(parent: Path | None = None, keep: Path | None = None) -> Iterator[Path]:
    """A folder of a drill's own; what is to be kept of it is copied to keep.

    What drills left that were killed is ended and removed first.
    """
    where = parent or Path(tempfile.gettempdir())
    sweep(where)
    made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=where))
    (made / OWNER).write_text(_identity(os.getpid()))
    # Services of other users pass through it.
    made.chmod(0o711)
    try:
        yield made
    finally:
        if keep is not None:
            _copy(made, keep)
        shutil.rmtree(made, ignore_errors=True)


def sweep(parent: Path) -> list[Path]:
    """End and remove what drills left that are gone; the folders removed."""
    swept = []
    for left in sorted(parent.glob(f"{PREFIX}*")):
        try:
            owner = (left / OWNER).read_text()
            if not owner or owner == _identity(int(owner.partition(" ")[0])):
                continue
        except (OSError, ValueError):
            # Being made just now, or another user's.
            continue
        home = Home(left / HOME)
        remains.end(home, patience_s=0)
        for volume in (*home.path.glob("nodes/*/data"), home.workspaces):
            Volumes.unmount_left(volume)
        shutil.rmtree(left, ignore_errors=True)
        swept.append(left)
    return swept


def _copy(made: Path, keep: Path) -> None:
    keep.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        if (made / name).exists():
            shutil.copy(made / name, keep)
    logs = Home(made / HOME).logs
    if logs.exists():
        shutil.copytree(logs, keep / logs.name, dirs_exist_ok=True)


def _identity(pid: int) -> str:
    """The process, told apart from a later one of the same id by when it started."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return f"{pid} {fields[19]}"
