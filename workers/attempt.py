"""One attempt at a bead: checkout, patch, test, commit, push, with the evidence of each step."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from loom.domain.bead import Bead
from loom.domain.evidence import Commit, FailureClass, Outcome, Step
from loom.domain.project import Project
from loom.errors import Invalid
from loom.telemetry import logs, traces
from workers import command, commit, recipe
from workers.command import Ended, Leash
from workers.fencing import Placed, Token
from workers.git import Git
from workers.lease import Lease
from workers.recipe import Recipe
from workers.workspace import Workspace, environment, workspace

log = logs.get(__name__)


class _Ended(Exception):
    """The attempt ended before its last step."""

    def __init__(self, failure_class: FailureClass, reason: str) -> None:
        super().__init__(reason)
        self.failure_class = failure_class
        self.reason = reason


class Attempt:
    """Works on one bead under a lease; the deeper ways to work take the place of its steps."""

    def __init__(
        self,
        bead: Bead,
        project: Project,
        epoch: int,
        *,
        lease: Lease,
        leash: Leash,
        root: Path,
        home: Path,
        path: str,
        git_timeout_s: float,
    ) -> None:
        """root: of the workspaces. home: the agent's own. path: the PATH of every command."""
        self._bead, self._project, self._epoch = bead, project, epoch
        self._lease, self._leash = lease, leash
        self._root, self._home, self._path = root, home, path
        self._git_timeout_s = git_timeout_s
        self._branch = f"agent/{bead.id}"
        self._ref = f"refs/heads/{self._branch}"
        self._steps: list[Step] = []
        self._commits: list[Commit] = []
        self._output = ""

    def run(self) -> Outcome:
        """Work, and say how it ended; raises LeaseLost when it may do neither."""
        try:
            plan = recipe.read(self._bead, self._project)
            with workspace(self._root, self._bead.id, self._epoch) as place:
                self._follow(plan, place)
        except Invalid as fault:
            return self._failed(FailureClass.WORK, fault.detail)
        except _Ended as end:
            return self._failed(end.failure_class, end.reason)
        except OSError as error:
            self._lease.check()
            return self._failed(FailureClass.INFRA, f"the workspace cannot be used: {error}")
        return Outcome(
            succeeded=True,
            steps=tuple(self._steps),
            commits=tuple(self._commits),
            output=self._output,
        )

    def _follow(self, plan: Recipe, place: Workspace) -> None:
        git = Git(
            config=place.git_config,
            path=self._path,
            home=self._home,
            scratch=place.scratch,
            timeout_s=self._git_timeout_s,
            leash=self._leash,
        )
        git.configure()
        self._checkout(git, place)
        tree, parent = self._apply(git, place, plan.patch) if plan.patch else ("", "")
        self._test(plan, place)
        if tree:
            sha = self._commit(git, place, tree, parent)
            self._push(git, place, sha, parent)

    def _checkout(self, git: Git, place: Workspace) -> None:
        # --no-local: a path is fetched like any other address, so that nothing of a repository
        # that others can write is linked into the checkout (CVE-2022-39253).
        arguments = (
            *("clone", "--quiet", "--no-local", "--depth=1", "--single-branch", "--no-tags"),
            *("--template=", f"--branch={self._project.default_branch}"),
            *("--", self._project.repository, str(place.checkout)),
        )
        with traces.span("checkout"):
            ended = git.run(*arguments, cwd=place.folder)
        self._note("checkout", git.argv(*arguments), ended)
        if ended.exit_code != 0:
            self._end(
                FailureClass.INFRA,
                f"{self._project.repository} cannot be checked out: {_last_words(ended)}",
            )
        self._token = Token(
            git, place.checkout, self._project.repository, self._bead.id, self._epoch
        )
        if self._epoch > 1:
            if self._token.withdraw_older() is Placed.FAILED:
                self._lease.check()
                self._end(
                    FailureClass.INFRA,
                    f"{self._project.repository} cannot be asked for earlier attempts: "
                    + _last_line(self._token.words),
                )
            self._resume(git, place)

    def _resume(self, git: Git, place: Workspace) -> None:
        """Begin where an earlier attempt began that pushed, and was lost before it could report.

        From the same parent the same work gives the same commit, whatever became of the default
        branch meanwhile; so the branch never has to move again.
        """
        if self._pushed_before(git, place):
            self._ask(git, place, "checkout", "--quiet", "--detach", "FETCH_HEAD^")
            log.info("pushed_work_resumed", branch=self._branch)

    def _pushed_before(self, git: Git, place: Workspace) -> bool:
        """Whether the branch is there with a commit of this bead, which is FETCH_HEAD then."""
        fetch = ("fetch", "--quiet", "--no-tags", "--depth=2", "--", self._project.repository)
        if git.run(*fetch, self._ref, cwd=place.checkout).exit_code != 0:
            return False
        whose = self._ask(
            git, place, "log", "-1", "--format=%(trailers:key=Bead-Id,valueonly)", "FETCH_HEAD"
        )
        return whose == self._bead.id

    def _apply(self, git: Git, place: Workspace, patch: bytes) -> tuple[str, str]:
        """Apply the patch; the tree that the commit gets, and its parent.

        Both are known before the test runs, so that nothing it does to the index or to HEAD
        reaches the commit.
        """
        arguments = ("apply", "--index", "--whitespace=nowarn", "-")
        with traces.span("patch"):
            ended = git.run(*arguments, cwd=place.checkout, stdin=patch)
        self._note("patch", git.argv(*arguments), ended)
        if ended.exit_code != 0:
            failure = FailureClass.INFRA if ended.timed_out else FailureClass.WORK
            self._end(failure, f"the patch does not apply: {_words(ended)}")
        tree = self._ask(git, place, "write-tree")
        parent = self._ask(git, place, "rev-parse", "--verify", "HEAD")
        return tree, parent

    def _test(self, plan: Recipe, place: Workspace) -> None:
        argv = plan.test_command
        given = environment(place, self._path, self._bead.id, self._project.id)
        with traces.span("test"):
            ended = command.run(
                argv,
                cwd=place.checkout,
                environment=given,
                timeout_s=plan.timeout_s,
                leash=self._leash,
                soft_timeout_s=plan.soft_timeout_s,
            )
        self._note("test", argv, ended)
        self._output = ended.output
        if ended.timed_out and ended.exit_code is not None:
            self._end(
                FailureClass.TIMEOUT,
                f"the test command was asked to stop after {plan.soft_timeout_s:g} s, "
                f"and {_how(ended)}",
            )
        if ended.timed_out:
            self._end(FailureClass.TIMEOUT, f"the test command did not end in {plan.timeout_s:g} s")
        if ended.exit_code == -signal.SIGKILL:
            # Nothing of ours sent it: the kernel was out of memory, or an operator stepped in.
            self._end(
                FailureClass.INFRA,
                "the test command was killed from outside (signal 9), as for want of memory: "
                + _last_words(ended),
            )
        if ended.exit_code != 0:
            self._end(FailureClass.WORK, f"the test command {_how(ended)}: {_last_words(ended)}")

    def _commit(self, git: Git, place: Workspace, tree: str, parent: str) -> str:
        arguments = ("commit-tree", tree, "-p", parent, "-F", "-")
        # The bead's own date: the same work on the same parent is the same commit.
        at = int(self._bead.created_at.timestamp())
        with traces.span("commit"):
            ended = git.run(*arguments, cwd=place.checkout, stdin=commit.message(self._bead), at=at)
        self._note("commit", git.argv(*arguments), ended)
        if ended.exit_code != 0:
            self._end(FailureClass.INFRA, f"git made no commit: {_words(ended)}")
        return ended.output.strip()

    def _push(self, git: Git, place: Workspace, sha: str, parent: str) -> None:
        token, branch = self._token, self._branch
        if token.place(parent) is Placed.FAILED:
            self._lease.check()
            words = _last_line(token.words)
            self._end(FailureClass.INFRA, f"{branch} cannot be pushed: {words}")
        # After the token is placed: whoever gets the bead after this yes finds it and removes it.
        self._lease.fence()
        arguments, ended = self._push_once(git, place, sha)
        if ended.exit_code != 0 and token.refused_in(ended.output):
            # Either somebody else has the bead by now, or the repository removes no such refs.
            self._lease.fence()
            log.warning("push_not_fenced", why=_last_words(ended))
            token.give_up()
            arguments, ended = self._push_once(git, place, sha)
        self._note("push", git.argv(*arguments), ended)
        if ended.exit_code == 0:
            self._commits.append(Commit(sha, branch))
            log.info("branch_pushed", branch=branch, sha=sha)
            return
        token.give_up()
        if "[rejected]" in ended.output:
            if self._pushed_before(git, place):
                self._end(
                    FailureClass.INFRA,
                    f"an earlier attempt's push of {branch} landed meanwhile: the next attempt "
                    "goes on from it",
                )
            self._end(
                FailureClass.WORK,
                f"the branch {branch} exists already, with another commit than {sha}: look at it, "
                "then delete or rename it",
            )
        if "[remote rejected]" in ended.output:
            self._end(FailureClass.WORK, f"the repository refuses {branch}: {_words(ended)}")
        self._end(FailureClass.INFRA, f"{branch} cannot be pushed: {_last_words(ended)}")

    def _push_once(self, git: Git, place: Workspace, sha: str) -> tuple[Sequence[str], Ended]:
        ref = self._ref
        # An empty expectation: the branch is made, or it is there with this very commit.
        arguments = (
            *("push", "--porcelain", "--no-verify", f"--force-with-lease={ref}:"),
            *(*self._token.options, "--", self._project.repository, f"{sha}:{ref}"),
            *self._token.refspecs,
        )
        with traces.span("push"):
            return arguments, git.run(*arguments, cwd=place.checkout)

    def _ask(self, git: Git, place: Workspace, *arguments: str) -> str:
        ended = git.run(*arguments, cwd=place.checkout)
        self._lease.check()
        if ended.exit_code != 0:
            self._end(FailureClass.INFRA, f"git {arguments[0]} failed: {_last_words(ended)}")
        return ended.output.strip()

    def _note(self, name: str, argv: Sequence[str], ended: Ended) -> None:
        """Keep the evidence of a step; raises LeaseLost if that is why it ended."""
        self._lease.check()
        step = Step(name, tuple(argv), ended.exit_code, ended.duration_s, ended.output)
        self._steps.append(step)
        log.info(
            "step_ended",
            step=name,
            exit_code=ended.exit_code,
            duration_s=round(ended.duration_s, 3),
            timed_out=ended.timed_out,
        )

    def _end(self, failure_class: FailureClass, reason: str) -> NoReturn:
        raise _Ended(failure_class, reason)

    def _failed(self, failure_class: FailureClass, reason: str) -> Outcome:
        return Outcome(
            succeeded=False,
            steps=tuple(self._steps),
            commits=tuple(self._commits),
            output=self._output or (self._steps[-1].output_tail if self._steps else ""),
            failure_class=failure_class,
            reason=reason,
        )


def _how(ended: Ended) -> str:
    if ended.exit_code is not None and ended.exit_code < 0:
        return f"was killed by signal {-ended.exit_code}"
    return f"ended with exit code {ended.exit_code}"


def _words(ended: Ended) -> str:
    """What the command said, for a reason: its end."""
    if ended.timed_out:
        return f"it did not end in {ended.duration_s:.0f} s"
    return ended.output.strip()[-1500:] or "it said nothing"


def _last_words(ended: Ended) -> str:
    """The last line of what it said, or its signal."""
    return _last_line(_words(ended))


def _last_line(words: str) -> str:
    return (words.strip() or "it said nothing").splitlines()[-1][:500]
