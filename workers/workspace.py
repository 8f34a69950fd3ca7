"""The folder of one attempt: its checkout, a HOME and a TMPDIR, gone when the attempt ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from loom.telemetry import logs
from workers import removal, strays

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Workspace:
    """`<root>/<bead>/<epoch>`, with a folder for each use."""

    folder: Path

    @classmethod
    def of(cls, root: Path, bead_id: str, epoch: int) -> Self:
        """Where that attempt works; nothing is made."""
        return cls(root / bead_id / str(epoch))

    @property
    def checkout(self) -> Path:
        """The working tree, where commands run."""
        return self.folder / "checkout"

    @property
    def home(self) -> Path:
        """The HOME of commands."""
        return self.folder / "home"

    @property
    def scratch(self) -> Path:
        """The TMPDIR of commands."""
        return self.folder / "tmp"

    @property
    def exchange(self) -> Path:
        """Files for commands and from them, outside of the checkout."""
        return self.folder / "exchange"

    @property
    def logs(self) -> Path:
        """Whole logs, and what else is kept of the attempt; commands do not see it."""
        return self.folder / "logs"

    @property
    def git_directory(self) -> Path:
        """The repository that Loom itself works with; commands do not see it."""
        return self.folder / "git"

    @property
    def git_scratch(self) -> Path:
        """The TMPDIR of Loom's own git; commands do not see it."""
        return self.folder / "git-tmp"

    @property
    def git_config(self) -> Path:
        """What git reads instead of the user's configuration; commands do not see it."""
        return self.folder / "gitconfig"


@contextmanager
def workspace(made: Workspace) -> Iterator[Workspace]:
    """Make it, for as long as it is needed; raises OSError when it cannot be made.

    Whatever an earlier attempt at the bead left is ended and removed first.
    """
    bead = made.folder.parent
    if bead.exists():
        # A pool process that was killed could not end its command, and the bead came again.
        _end_and_remove(bead)
    for folder in (made.home, made.scratch, made.exchange, made.git_scratch):
        folder.mkdir(mode=0o700, parents=True)
    try:
        yield made
    finally:
        _end_and_remove(made.folder)
        with suppress(OSError):
            bead.rmdir()  # unless a later attempt at the bead works there by now


def sweep(root: Path) -> None:
    """End and remove what earlier attempts left; only while no attempt of this agent runs."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in sorted(root.iterdir()):
        _end_and_remove(left)


def environment(place: Workspace, path: str, bead_id: str, project_id: str) -> Mapping[str, str]:
    """All that a bead's command gets: nothing of the agent's own environment is in it."""
    return {
        "PATH": path,
        "HOME": str(place.home),
        "TMPDIR": str(place.scratch),
        "LANG": "C.UTF-8",
        "LOOM_BEAD_ID": bead_id,
        "LOOM_PROJECT_ID": project_id,
    }


def _end_and_remove(folder: Path) -> None:
    killed = strays.kill_under(folder)
    if killed:
        log.warning("stray_processes_killed", folder=str(folder), processes=killed)
    if not removal.remove(folder):
        log.warning("workspace_not_removed", folder=str(folder))
