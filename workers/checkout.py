"""Filling the working tree of an attempt, from the project's mirror."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from loom.domain.evidence import FailureClass
from loom.domain.project import Project
from workers import changes, refusals, submodules
from workers.asking import LIST_BYTES, Asking, must
from workers.changes import GITLINK
from workers.command import Ended
from workers.git import IDENTITY
from workers.mirror import Borrowed, Mirror, Quota
from workers.staging import Staging
from workers.tree import Entry, entries, make_repository
from workers.ways.way import WorkFailed
from workers.workspace import Workspace

_MB = 1024 * 1024
_WORK = FailureClass.WORK


@dataclass(frozen=True, slots=True)
class _Submodule:
    """A repository whose submodules are looked for. depth: 0 for the project's own."""

    asking: Asking
    sha: str
    address: str
    folder: Path
    entries: Sequence[Entry]
    depth: int


class Checkout:
    """The working tree of one attempt. asking: on Loom's own repository around it."""

    def __init__(
        self,
        project: Project,
        place: Workspace,
        asking: Asking,
        *,
        mirrors: Path,
        quota: Quota,
    ) -> None:
        self._project, self._place = project, place
        self._asking, self._mirrors, self._quota = asking, mirrors, quota
        self._limit_mb = project.rules.limits.disk_mb
        self._borrowed = ExitStack()
        self.staging = Staging(asking, place.checkout)
        self.read_only: tuple[Path, ...] = ()
        """What commands have to see, and may not write: the objects they borrow, submodules."""

    def close(self) -> None:
        """Let the mirrors go; the working tree's repositories are of no use any more."""
        self._borrowed.close()

    def begin(self, base: str, *, anew: bool) -> tuple[Borrowed, str]:
        """Fetch, make Loom's own repository, and give the commit that base is."""
        self.close()
        for folder in (self._place.git_directory, self._place.checkout):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
        keep = f"refs/heads/{base}"
        borrowed = self._borrow(self._project.repository, keep=keep, anew=anew)
        start = self._commit_of(base, self._asking.at(borrowed.directory))
        # Commands' own repository may have to fetch from it, before any of them runs.
        config = "[core]\n\tbare = false\n[uploadpack]\n\tallowAnySHA1InWant = true\n"
        make_repository(self._place.git_directory, borrowed.objects, base, config)
        self.read_only = (borrowed.objects,)
        return borrowed, start

    def fill(self, borrowed: Borrowed, sha: str, base: str) -> Ended:
        """Fill the working tree with that commit, and give commands a repository around it."""
        ended, found = self._list(self._asking, sha)
        if ended.exit_code != 0:
            return ended
        ended = self.staging.fill(sha)
        if ended.exit_code != 0:
            return ended
        self.staging.skip_submodules(found)
        self._equip(borrowed, sha, base)
        if self._project.rules.submodules:
            address, folder = self._project.repository, self._place.checkout
            self._fill_submodules(_Submodule(self._asking, sha, address, folder, found, 0))
        return replace(ended, output=f"{borrowed.ended.output}{ended.output}HEAD is {sha}\n")

    def _borrow(
        self, repository: str, *, keep: str = "", want: str = "", anew: bool = False
    ) -> Borrowed:
        mirror = Mirror(
            self._mirrors,
            self._project.id,
            repository,
            self._asking.git,
            keep=keep,
            quota=self._quota,
        )
        borrowed = self._borrowed.enter_context(mirror.borrow(want, anew=anew))
        self._asking.check()
        return borrowed

    def _commit_of(self, base: str, mirror: Asking) -> str:
        names = (f"refs/heads/{base}", base)
        for name in names[: 1 if base.startswith("-") else 2]:
            ended = mirror.git.run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
            if ended.exit_code == 0:
                return ended.output.strip()
        listed = mirror.ask("for-each-ref", "--count=10", "--format=%(refname:short)", "refs/heads")
        repository = self._project.repository
        if not listed:
            raise WorkFailed(
                _WORK, f"{repository} is empty: it has no commit to begin from. Push one first"
            )
        raise WorkFailed(
            _WORK,
            f"{repository} has no branch {base}; it has {', '.join(listed.split())}. Correct the "
            "project's branch",
        )

    def _list(self, asking: Asking, sha: str) -> tuple[Ended, Sequence[Entry]]:
        """The files of a commit; raises WorkFailed if they are more than the rules allow."""
        listed = asking.file("tree")
        arguments = ("ls-tree", "-r", "-l", "-z", sha)
        ended = asking.git.run(*arguments, into=listed, max_file=LIST_BYTES)
        asking.check()
        too_many = listed.exists() and listed.stat().st_size >= LIST_BYTES
        found = entries(listed.read_bytes()) if ended.exit_code == 0 else []
        size = sum(entry.size for entry in found)
        if too_many or (self._limit_mb and size > self._limit_mb * _MB):
            shown = "millions of files" if too_many else f"{size // _MB} MB"
            raise WorkFailed(
                _WORK,
                f"{self._project.repository} is too large to be checked out: {shown}, and the "
                f"project's rules allow {self._limit_mb} MB (limits.disk_mb)",
            )
        return ended, found

    def _equip(self, borrowed: Borrowed, sha: str, base: str) -> None:
        """Give the commands a repository of their own around the working tree."""
        name, email = IDENTITY
        theirs = self._place.checkout / ".git"
        theirs.mkdir(mode=0o700)
        who = f"[core]\n\tbare = false\n[user]\n\tname = {name}\n\temail = {email}\n"
        make_repository(theirs, borrowed.objects, base, who)
        mirror = self._asking.at(borrowed.directory)
        if not mirror.has(sha):
            # Where an earlier attempt began, and the repository's branches have left it since.
            own = str(self._place.git_directory)
            self._asking.at(theirs).ask("fetch", "--quiet", "--no-tags", "--", own, sha)
        refs = mirror.list(
            "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags"
        )
        lines = [f"{sha} refs/heads/{base}".encode()]
        for line in refs.splitlines():
            lines.append(line.replace(b" refs/heads/", b" refs/remotes/origin/", 1))
        (theirs / "packed-refs").write_bytes(b"\n".join(lines) + b"\n")
        shutil.copy(self._place.git_directory / "index", theirs / "index")

    def _fill_submodules(self, outer: _Submodule) -> None:
        links = [entry for entry in outer.entries if entry.mode == GITLINK]
        if not links:
            return
        if outer.depth >= submodules.MAX_DEPTH or len(links) > submodules.MAX_COUNT:
            raise WorkFailed(
                _WORK,
                f"{self._project.repository} has more than {submodules.MAX_COUNT} submodules, or "
                f"more than {submodules.MAX_DEPTH} within each other",
            )
        listed = outer.asking.list("config", "-z", f"--blob={outer.sha}:.gitmodules", "--list")
        named = submodules.urls(listed)
        for link in links:
            name = changes.name(link.path)
            if name not in named:
                raise WorkFailed(_WORK, f"the submodule {name} has no address in .gitmodules")
            address = submodules.address(named[name], outer.address)
            if fault := submodules.fault(address, self._asking.git.protocols):
                raise WorkFailed(_WORK, f"the submodule {name} cannot be fetched: {fault}")
            folder = outer.folder / os.fsdecode(link.path)
            self._fill_submodules(self._fill_one(address, link.sha, folder, outer.depth + 1))

    def _fill_one(self, address: str, sha: str, folder: Path, depth: int) -> _Submodule:
        borrowed = self._borrow(address, want=sha)
        folder.mkdir(exist_ok=True)
        inner = self._asking.at(borrowed.directory, folder)
        ended, found = self._list(inner, sha)
        must(ended, f"{address} cannot be checked out")
        index = {"GIT_INDEX_FILE": str(inner.file(f"index-{len(self.read_only)}"))}
        inner.ask("read-tree", "--reset", "-u", sha, environment=index)
        self.read_only += (folder,)
        return _Submodule(inner, sha, address, folder, found, depth)


def failed(repository: str, ended: Ended) -> WorkFailed:
    """Why there is no working tree."""
    refusal = refusals.of(ended)
    return WorkFailed(refusal.failure_class, f"{repository} cannot be checked out: {refusal.words}")
