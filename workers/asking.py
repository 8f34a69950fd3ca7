"""Asking git what it has to know: whatever it cannot say ends the attempt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from loom.domain.evidence import FailureClass
from workers import refusals
from workers.command import Ended
from workers.git import Git
from workers.ways.way import WorkFailed

LIST_BYTES = 256 * 1024 * 1024
"""Of a list of files: a tree that is larger is no work but an attack."""


class Asking:
    """One repository of Loom's own, asked by git. check: raises if the attempt may not go on."""

    def __init__(self, git: Git, check: Callable[[], None]) -> None:
        self.git, self.check = git, check

    def at(self, directory: Path, work_tree: Path | None = None) -> Asking:
        """The same on another repository."""
        return Asking(self.git.at(directory, work_tree), self.check)

    def file(self, name: str) -> Path:
        """A file for what git prints, out of the reach of commands."""
        return self.git.scratch / name

    def ask(
        self, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> str:
        """What git says, without blanks around it; raises WorkFailed."""
        ended = self.git.run(*arguments, stdin=stdin, environment=environment)
        self.check()
        must(ended, f"git {arguments[0]} failed")
        return ended.output.strip()

    def list(self, *arguments: str) -> bytes:
        """All that git prints, which may be long; raises WorkFailed."""
        file = self.file(arguments[0])
        ended = self.git.run(*arguments, into=file, max_file=LIST_BYTES)
        self.check()
        must(ended, f"git {arguments[0]} failed")
        return file.read_bytes()

    def has(self, sha: str) -> bool:
        """Whether that commit is there."""
        return self.git.run("cat-file", "-e", f"{sha}^{{commit}}").exit_code == 0


def must(ended: Ended, what: str) -> None:
    """Raise WorkFailed unless it ended well; not even the bead is at fault for git's own work."""
    if ended.exit_code != 0:
        raise WorkFailed(FailureClass.INFRA, f"{what}: {refusals.of(ended).words}")
