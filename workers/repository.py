"""The repository of one attempt: its working tree, what changed in it, the commit and the push.

Commands get a working tree with a `.git` of its own, to read and write as they like; nothing of it
is ever looked at again. Loom's own repository lies beside it, out of their reach: its configuration
names no filter, no hook and no program, its index began as the parent commit, and it alone says
what changed. Both borrow their objects from the project's mirror.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from loom.domain.bead import Bead
from loom.domain.credential import FOLDER
from loom.domain.evidence import Commit, FailureClass
from loom.domain.project import Project
from loom.domain.rules import Strategy
from loom.telemetry import logs, traces
from workers import checkout, commit, patching, pushing, refusals, scan, staging
from workers.asking import Asking, must
from workers.changes import Changes
from workers.checkout import Checkout
from workers.command import Ended, Leash
from workers.credentials import Credentials
from workers.fencing import Placed, Token
from workers.git import PROTOCOLS, Git
from workers.leaks import Leak
from workers.mask import NOTHING, Mask
from workers.mirror import Quota
from workers.pushing import Target
from workers.tree import entries
from workers.ways.way import WorkFailed
from workers.workspace import Workspace

LOOKED_BACK = 2_000
"""Commits of the default branch in which an earlier attempt's is looked for."""

log = logs.get(__name__)

Note = Callable[[str, Sequence[str], Ended], None]
"""Keeps the evidence of a step: its name, argv and end."""


class Repository:
    """What one attempt has of its project's repository; leave it by `with`, to let the mirror go.

    Each call raises WorkFailed where the attempt cannot go on, and what `check` raises.
    """

    def __init__(
        self,
        bead: Bead,
        project: Project,
        epoch: int,
        place: Workspace,
        *,
        mirrors: Path,
        home: Path,
        path: str,
        timeout_s: float,
        leash: Leash,
        credentials: Path | None = None,
        quota: Quota | None = None,
        check: Callable[[], None] = lambda: None,
        note: Note = lambda _name, _argv, _ended: None,
    ) -> None:
        """mirrors: the folder of all mirrors. home: the agent's own. credentials: their folder;
        that in home if it is not given.

        timeout_s: for one run of git. check: called after each; raises if the attempt may not go
        on.
        """
        self._bead, self._project, self._epoch = bead, project, epoch
        self._check, self._note, self._checkout = check, note, place.checkout
        git = Git(
            config=place.git_config,
            path=path,
            home=home,
            scratch=place.git_scratch,
            timeout_s=timeout_s,
            leash=leash,
            directory=place.git_directory,
            work_tree=place.checkout,
            credentials=Credentials(credentials or home / FOLDER, project.repository),
            protocols=tuple(each for each in project.rules.protocols if each in PROTOCOLS),
        )
        self._git, self._asking = git, Asking(git, check)
        self._tree = Checkout(project, place, self._asking, mirrors=mirrors, quota=quota or Quota())
        self._staging = self._tree.staging
        self._strategy = Strategy(project.rules.strategy)
        self._branch = pushing.branch_of(self._strategy, bead.id, project.default_branch)
        self._token = Token(git, place.git_directory, project.repository, bead.id, epoch)
        self.parent = ""
        """The commit that the working tree began as."""
        self.earlier = ""
        """The commit of an earlier attempt at the bead that was pushed, and not reported."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._tree.close()

    @property
    def read_only(self) -> tuple[Path, ...]:
        """What commands have to see, and may not write: the objects they borrow, submodules."""
        return self._tree.read_only

    def check_out(self, base: str | None = None) -> str:
        """Fill the working tree, and give the commit that it is.

        base: a branch or a commit to begin from, instead of the project's default branch. After a
        push of an earlier attempt it begins where that one did: from the same parent the same work
        gives the same commit, whatever became of the default branch meanwhile.
        """
        if fault := refusals.of_address(self._project.repository, self._git.protocols):
            raise WorkFailed(FailureClass.WORK, fault)
        self._git.configure()
        begin, started = base or self._project.default_branch, time.monotonic()
        with traces.span("checkout"):
            argv, ended = self._fill(begin, anew=False)
            if ended.exit_code != 0 and not refusals.of(ended).certain:
                log.warning("mirror_broken", why=refusals.last_words(ended))
                argv, ended = self._fill(begin, anew=True)
        self._note("checkout", argv, replace(ended, duration_s=time.monotonic() - started))
        self._check()
        if ended.exit_code != 0:
            raise checkout.failed(self._project.repository, ended)
        return self.parent

    def apply(self, patch: bytes, name: str = "patch") -> Ended:
        """Apply a unified diff to the working tree as it is by now, as the step of this name."""
        if fault := patching.refused(patch):
            raise WorkFailed(FailureClass.WORK, f"the patch does not apply: {fault}")
        self._staging.stage()
        arguments = ("apply", "--index", "--whitespace=nowarn", "-")
        endings: list[Ended] = []
        with traces.span("patch"):
            for variant in patching.variants(patch):
                endings.append(self._git.run(*arguments, cwd=self._checkout, stdin=variant))
                if endings[-1].exit_code == 0 or endings[-1].timed_out or endings[-1].cancelled:
                    break
        # What is wrong with the patch as it came is what its author can mend.
        ended = endings[-1] if endings[-1].exit_code == 0 else endings[0]
        self._note(name, self._git.argv(*arguments), ended)
        self._check()
        if ended.exit_code != 0:
            words = refusals.words(ended)
            raise WorkFailed(staging.blame(ended), f"the patch does not apply: {words}")
        self._staging.refuse_submodules(self.parent, self._asking.ask("write-tree"))
        return ended

    def restore_earlier(self) -> None:
        """Put what an earlier attempt pushed into the working tree, in place of the work."""
        must(self._staging.fill(self.earlier), f"{self.earlier} cannot be checked out")
        listed = self._asking.list("ls-tree", "-r", "-l", "-z", self.earlier)
        self._staging.skip_submodules(entries(listed))
        log.info("pushed_work_resumed", branch=self._branch, sha=self.earlier)

    def settle(self) -> None:
        """What differs by now is no part of the work: what a `prepare` step installed or wrote."""
        self._staging.settle()

    def changes(self) -> Changes:
        """What the working tree holds that its parent does not, except what was settled."""
        return self._staging.changes(self.parent)

    def scan(self, found: Changes, mask: Mask = NOTHING) -> tuple[Leak, ...]:
        """What the changes seem to give away, what is masked above all.

        It is nothing where the project's rules want no search.
        """
        if not self._project.rules.scan_secrets or not found:
            return ()
        return scan.search(self._asking, found, mask)

    def commit(self, found: Changes, described: str = "") -> str:
        """Commit the changes; the same work on the same parent is the same commit.

        described: what the commit says instead of the bead's title and description.
        """
        if self.earlier and found.tree == self._asking.ask("rev-parse", f"{self.earlier}^{{tree}}"):
            self._note("commit", (), Ended(0, 0.0, f"{self.earlier} holds this work already"))
            return self.earlier
        arguments = ("commit-tree", found.tree, "-p", found.parent, "-F", "-")
        words = commit.message(self._bead, described)
        # The bead's own date: that of the attempt would make another commit of it.
        at = int(self._bead.created_at.timestamp())
        with traces.span("commit"):
            ended = self._git.run(*arguments, stdin=words, at=at)
        self._note("commit", self._git.argv(*arguments), ended)
        self._check()
        must(ended, "git made no commit")
        return ended.output.strip()

    def push(self, sha: str, fence: Callable[[], None]) -> Commit:
        """Have the repository take the commit. fence: the ledger's yes; raises if it is a no."""
        is_direct = self._strategy is Strategy.DIRECT
        if is_direct and sha == self.earlier:
            return self._found_there(sha, fence)
        target = Target(self._strategy, self._branch, self.parent if is_direct else "")
        if self._token.place(self.parent) is Placed.FAILED:
            self._check()
            raise self._refused(f"{self._branch} cannot be pushed")
        # After the token is placed: whoever gets the bead after this yes finds it and removes it.
        fence()
        argv, ended = self._push_once(target, sha)
        if ended.exit_code != 0 and self._token.refused_in(ended.output):
            # Either somebody else has the bead by now, or the repository removes no such refs.
            fence()
            log.warning("push_not_fenced", why=refusals.last_words(ended))
            self._token.give_up()
            argv, ended = self._push_once(target, sha)
        self._note("push", argv, ended)
        self._check()
        if ended.exit_code == 0:
            log.info("branch_pushed", branch=self._branch, sha=sha)
            return Commit(sha, self._branch)
        self._token.give_up()
        landed_before = not is_direct and bool(self._pushed_before())
        raise pushing.refused(ended, target, sha, landed_before=landed_before)

    def _fill(self, base: str, *, anew: bool) -> tuple[tuple[str, ...], Ended]:
        borrowed, self.parent = self._tree.begin(base, anew=anew)
        if self._epoch > 1:
            self._look_for_earlier()
        return borrowed.argv, self._tree.fill(borrowed, self.parent, base)

    def _look_for_earlier(self) -> None:
        if self._token.withdraw_older() is Placed.FAILED:
            self._check()
            repository = self._project.repository
            raise self._refused(f"{repository} cannot be asked for earlier attempts")
        self.earlier = self._pushed_before()
        if self.earlier:
            self.parent = self._asking.ask("rev-parse", "--verify", f"{self.earlier}^")
            log.info("earlier_push_found", branch=self._branch, sha=self.earlier)

    def _pushed_before(self) -> str:
        """The commit of this bead that the branch has already; empty if none.

        On a branch of the bead's own it is the tip, or somebody else's work is.
        """
        repository, ref = self._project.repository, f"refs/heads/{self._branch}"
        fetch = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--", repository, ref)
        if self._git.run(*fetch, out=True).exit_code != 0:
            return ""
        depth = LOOKED_BACK if self._strategy is Strategy.DIRECT else 1
        listed = self._asking.ask(
            *("log", f"--max-count={depth}", "FETCH_HEAD"),
            "--format=%H %(trailers:key=Bead-Id,valueonly,separator=%x20)",
        )
        for line in listed.splitlines():
            sha, _, whose = line.partition(" ")
            if whose.strip() == self._bead.id:
                return sha
        return ""

    def _found_there(self, sha: str, fence: Callable[[], None]) -> Commit:
        """The default branch has it, and may have moved on since: nothing is left to do."""
        fence()
        self._note("push", (), Ended(0, 0.0, f"{sha} is in {self._branch} already"))
        return Commit(sha, self._branch)

    def _push_once(self, target: Target, sha: str) -> tuple[tuple[str, ...], Ended]:
        arguments = (
            *("push", "--porcelain", "--no-verify", "--no-recurse-submodules", target.lease),
            *(*self._token.options, "--", self._project.repository, f"{sha}:{target.ref}"),
            *self._token.refspecs,
        )
        with traces.span("push"):
            return self._git.argv(*arguments), self._git.run(*arguments, out=True)

    def _refused(self, what: str) -> WorkFailed:
        """Why the repository did not take or tell of a token."""
        refusal = refusals.of(Ended(1, 0.0, self._token.words))
        return WorkFailed(refusal.failure_class, f"{what}: {refusal.words}")
