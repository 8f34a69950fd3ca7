"""What the tests of repositories stand on: an upstream, and attempts at one bead of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from agent_stand import git, make_repository

from loom.domain.bead import Bead
from loom.domain.evidence import FailureClass
from loom.domain.lifecycle import State
from loom.domain.project import Project
from loom.domain.rules import Rules
from workers.command import Ended, Leash
from workers.mirror import Quota
from workers.repository import Repository
from workers.ways.way import WorkFailed
from workers.workspace import Workspace, workspace

PATH = "/usr/local/bin:/usr/bin:/bin"
CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass
class At:
    """One attempt: its repository, its workspace, and the evidence it left."""

    repository: Repository
    place: Workspace
    steps: list[tuple[str, Sequence[str], Ended]] = field(default_factory=list)

    @property
    def checkout(self) -> Path:
        """The working tree."""
        return self.place.checkout

    def write(self, name: str, text: str) -> Path:
        """Write a file of the working tree."""
        file = self.checkout / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def deliver(self, fence: Callable[[], None] = lambda: None) -> str:
        """Commit what changed and push it; the commit."""
        found = self.repository.changes()
        assert found
        return self.repository.push(self.repository.commit(found), fence).sha


class Bench:
    """A repository, and attempts at one bead of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.mirrors = folder / "mirrors"
        self.upstream = make_repository(folder / "upstream")
        self.address = str(self.upstream)

    @contextmanager
    def attempt(
        self,
        epoch: int = 1,
        *,
        rules: Rules | None = None,
        bead_id: str = "bd-1",
        quota: Quota | None = None,
        path: str = PATH,
        leash: Leash | None = None,
        branch: str = "main",
        title: str = "Mend the sums",
    ) -> Iterator[At]:
        """An attempt that has checked nothing out yet."""
        values: dict[str, Any] = {
            "id": bead_id, "project_id": "demo", "title": title,
            "state": State.IN_PROGRESS, "epoch": epoch, "version": 2, "correlation_id": "corr-1",
            "created_at": CREATED, "updated_at": CREATED, "context": {},
        }  # fmt: skip
        project = Project("demo", self.address, default_branch=branch, rules=rules or Rules())
        steps: list[tuple[str, Sequence[str], Ended]] = []
        with (
            workspace(Workspace.of(self.folder / "workspaces", bead_id, epoch)) as place,
            Repository(
                Bead(**values),
                project,
                epoch,
                place,
                mirrors=self.mirrors,
                home=self.home,
                path=path,
                timeout_s=60.0,
                leash=leash or Leash(),
                quota=quota,
                note=lambda name, argv, ended: steps.append((name, argv, ended)),
            ) as repository,
        ):
            yield At(repository, place, steps)

    def refs(self) -> dict[str, str]:
        """Every ref of the upstream."""
        listed = git("for-each-ref", "--format=%(refname) %(objectname)", cwd=self.upstream)
        return dict(line.split() for line in listed.splitlines())

    def push(self, *names: str, branch: str = "main", **files: str) -> str:
        """Have somebody else push files to the upstream; the commit."""
        seed = self.folder / "upstream" / "seed"
        for name, text in files.items():
            (seed / name.replace("__", ".")).write_text(text)
        git("add", "--all", *names, cwd=seed)
        git("commit", "--quiet", "--allow-empty", "--message=More", cwd=seed)
        git("push", "--quiet", str(self.upstream), f"HEAD:refs/heads/{branch}", cwd=seed)
        return git("rev-parse", "HEAD", cwd=seed)


@contextmanager
def fails(failure_class: FailureClass, words: str) -> Iterator[None]:
    """The block ends in a failure of that class with those words."""
    with pytest.raises(WorkFailed, match=words) as failure:
        yield
    assert failure.value.failure_class is failure_class, failure.value
