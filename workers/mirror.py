"""The cached bare copy of a repository, fetched once for all attempts that work on it.

`<root>/<name>/<generation>/repository.git`. Attempts borrow its objects and write nothing into it.
Whoever fetches has it alone; whoever borrows shares a lock on the generation, and neither is
cleaned, packed anew or removed while it is borrowed. One that is broken is left to those who have
it, and the next generation is fetched.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from loom.domain.evidence import FailureClass
from loom.telemetry import logs, traces
from workers import refusals
from workers.command import Ended
from workers.git import Git
from workers.locks import Lock
from workers.ways.way import WorkFailed

OWN_BRANCHES = "refs/heads/agent/"
"""Of Loom's own making, one a bead: nobody begins from them, so they are not kept."""
PACKS = 50
"""From so many on they are packed into one, once nobody borrows them."""
_MB = 1024 * 1024

log = logs.get(__name__)


class Broken(Exception):
    """Something in a mirror cannot be read; what git said of it."""


@dataclass(frozen=True, slots=True)
class Quota:
    """mirrors_mb: of all mirrors together; those not in use go, least recently used first.

    repository_mb: of one; a larger repository is refused. 0: any size.
    """

    mirrors_mb: int = 20_480
    repository_mb: int = 4_096


@dataclass(frozen=True, slots=True)
class Borrowed:
    """A mirror as it was just fetched. ended: how that ended. argv: as evidence shows it."""

    directory: Path
    ended: Ended
    argv: tuple[str, ...]

    @property
    def objects(self) -> Path:
        """What a repository names in objects/info/alternates to have all of its objects."""
        return self.directory / "objects"


class Mirror:
    """The mirror of one repository of one project."""

    def __init__(
        self,
        root: Path,
        project_id: str,
        repository: str,
        git: Git,
        *,
        keep: str = "",
        quota: Quota | None = None,
    ) -> None:
        """git: on whatever repository. keep: a ref to have, whatever others it leaves."""
        digest = hashlib.sha256(repository.encode()).hexdigest()[:12]
        self._root, self._folder = root, root / f"{project_id}-{digest}"
        self._repository, self._git, self._quota = repository, git, quota or Quota()
        self._refspecs = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
        if not keep.startswith(OWN_BRANCHES):
            self._refspecs.append(f"^{OWN_BRANCHES}*")

    @contextmanager
    def borrow(self, want: str = "", *, anew: bool = False) -> Iterator[Borrowed]:
        """The mirror with all that the repository has now, which nobody removes meanwhile.

        want: a commit that it has to have besides. anew: its last generation was found broken.
        Raises WorkFailed when the repository cannot be had.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        use: Lock | None = None
        with Lock(self._folder / "lock") as writing:
            if not writing.alone(self._git.timeout_s, lambda: self._git.leash.pulled):
                raise WorkFailed(
                    FailureClass.INFRA,
                    f"the mirror of {self._repository} was being fetched by others for longer "
                    f"than {self._git.timeout_s:.0f} s",
                )
            with traces.span("fetch"):
                borrowed = self._fetched(want, anew=anew)
            use = Lock(borrowed.directory.parent / "lock")
            if not use.share(0):
                raise WorkFailed(FailureClass.INFRA, "the mirror was taken away: try again")
            (borrowed.directory.parent / "used").touch()
            self._forget_older(borrowed.directory.parent)
        make_room(self._root, self._quota.mirrors_mb * _MB)
        try:
            yield borrowed
        finally:
            use.release()
            self._tidy(borrowed.directory)

    def _fetched(self, want: str, *, anew: bool) -> Borrowed:
        generations = _generations(self._folder)
        newest = int(generations[-1].name) if generations else 0
        if newest and not anew:
            try:
                return self._fetch(generations[-1], want, fresh=False)
            except Broken as broken:
                log.warning("mirror_broken", repository=self._repository, why=str(broken))
        try:
            return self._fetch(self._folder / str(newest + 1), want, fresh=True)
        except Broken as broken:
            raise self._failed(FailureClass.INFRA, str(broken)) from broken

    def _fetch(self, generation: Path, want: str, *, fresh: bool) -> Borrowed:
        """Raises Broken when this generation itself may be at fault, WorkFailed otherwise."""
        if fault := refusals.of_path(self._repository):
            raise self._failed(FailureClass.WORK, f"{fault}: correct the project's address")
        directory = generation / "repository.git"
        if fresh:
            self._begin(directory)
        else:
            _clear_up(directory)
        git, started = self._git.at(directory), time.monotonic()
        limit = self._quota.repository_mb * _MB
        arguments = (
            *("fetch", "--prune", "--atomic", "--no-tags", "--no-write-fetch-head", "--force"),
            *("--no-recurse-submodules", "--", self._repository),
        )
        log.info("mirror_fetch_started", repository=self._repository, first=fresh)
        ended = git.run(*arguments, *self._refspecs, out=True, max_file=limit)
        if ended.exit_code == 0 and want and not has(git, want):
            ended = git.run(*arguments, want, out=True, max_file=limit)
        size = _size(directory)
        if ended.exit_code != 0:
            self._explain(ended, generation, size, limit, fresh=fresh)
        log.info(
            "mirror_fetched",
            repository=self._repository,
            seconds=round(time.monotonic() - started, 3),
            bytes=size,
        )
        if limit and size > limit:
            raise self._too_large(generation)
        return Borrowed(directory, ended, git.argv(*arguments, *self._refspecs))

    def _explain(
        self, ended: Ended, generation: Path, size: int, limit: int, *, fresh: bool
    ) -> None:
        refusal = refusals.of(ended)
        if limit and size >= limit:
            raise self._too_large(generation)
        if fresh:
            shutil.rmtree(generation, ignore_errors=True)
        else:
            _clear_up(generation / "repository.git")
        if refusal.certain:
            raise self._failed(refusal.failure_class, refusal.words)
        raise Broken(refusal.words)

    def _begin(self, directory: Path) -> None:
        shutil.rmtree(directory.parent, ignore_errors=True)
        directory.parent.mkdir(mode=0o700)
        ended = self._git.at(directory).run(
            "init", "--quiet", "--bare", "--template=", cwd=directory.parent
        )
        if ended.exit_code != 0:
            raise self._failed(FailureClass.INFRA, refusals.of(ended).words)

    def _too_large(self, generation: Path) -> WorkFailed:
        _remove(generation)
        return self._failed(
            FailureClass.WORK,
            f"it is larger than {self._quota.repository_mb} MB, which is all that this agent "
            "takes of one repository: raise LOOM_AGENT_REPOSITORY_MB",
        )

    def _failed(self, failure_class: FailureClass, why: str) -> WorkFailed:
        return WorkFailed(failure_class, f"{self._repository} cannot be fetched: {why}")

    def _forget_older(self, current: Path) -> None:
        for generation in _generations(self._folder):
            if generation != current:
                _remove(generation)

    def _tidy(self, directory: Path) -> None:
        """Pack a mirror of many pieces, if nobody wants it now."""
        try:
            pieces = len(list((directory / "objects" / "pack").glob("*.pack")))
        except OSError:
            return
        if pieces < PACKS or self._git.leash.pulled:
            return
        with Lock(self._folder / "lock") as writing, Lock(directory.parent / "lock") as use:
            if writing.try_alone() and use.try_alone():
                ended = self._git.at(directory).run("gc", "--quiet", "--prune=now")
                log.info("mirror_packed", repository=self._repository, exit_code=ended.exit_code)


def has(git: Git, sha: str) -> bool:
    """Whether that commit is there."""
    return git.run("cat-file", "-e", f"{sha}^{{commit}}").exit_code == 0


def make_room(root: Path, limit: int) -> None:
    """Remove mirrors that nobody uses until all take at most limit bytes, oldest use first."""
    if not limit:
        return
    found = [
        (_used_at(generation), _size(generation), generation)
        for mirror in _folders(root)
        for generation in _generations(mirror)
    ]
    total = sum(size for _, size, _ in found)
    for _, size, generation in sorted(found):
        if total <= limit:
            return
        with Lock(generation.parent / "lock") as writing:
            if writing.try_alone() and _remove(generation):
                total -= size
                log.info("mirror_removed", mirror=generation.parent.name, bytes=size)


def _remove(generation: Path) -> bool:
    """Remove one that nobody borrows; only while its mirror is held alone."""
    if not generation.is_dir():
        return False
    with Lock(generation / "lock") as use:
        if not use.try_alone():
            return False
        shutil.rmtree(generation, ignore_errors=True)
    return True


def _clear_up(directory: Path) -> None:
    """Remove what a fetch left that was killed; only while the mirror is held alone."""
    for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*", "objects/pack/.tmp-*"):
        for left in directory.glob(pattern):
            with suppress(OSError):
                left.unlink()


def _folders(root: Path) -> list[Path]:
    try:
        return [each for each in root.iterdir() if each.is_dir()]
    except FileNotFoundError:
        return []


def _generations(mirror: Path) -> list[Path]:
    """Oldest first."""
    found = [each for each in _folders(mirror) if each.name.isdecimal()]
    return sorted(found, key=lambda each: int(each.name))


def _used_at(generation: Path) -> float:
    try:
        return (generation / "used").stat().st_mtime
    except OSError:
        return 0.0


def _size(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(place) / name).lstat().st_size
    return total
