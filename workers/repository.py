"""The repository of one attempt: its working tree, what changed in it, the commit and the push.

Commands get a working tree with a `.git` of its own, to read and write as they like; nothing of it
is ever looked at again. Loom's own repository lies beside it, out of their reach: its configuration
names no filter, no hook and no program, its index began as the parent commit, and it alone says
what changed. Both borrow their objects from the project's mirror.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from loom.domain.bead import Bead
from loom.domain.evidence import Commit, FailureClass
from loom.domain.project import Project
from loom.domain.rules import Strategy
from loom.telemetry import logs, traces
from workers import changes, command, commit, leaks, patching, pushing, refusals, submodules
from workers.changes import GITLINK, Changes
from workers.command import Ended, Leash
from workers.credentials import Credentials
from workers.fencing import Placed, Token
from workers.git import IDENTITY, PROTOCOLS, Git
from workers.leaks import Leak
from workers.mirror import Borrowed, Mirror, Quota, has
from workers.pushing import Target
from workers.tree import Entry, make_repository, traps
from workers.tree import entries as entries_of
from workers.ways.way import WorkFailed
from workers.workspace import Workspace

DIFF_BYTES = 1024 * 1024
"""Of the diff that is kept; what is longer is cut."""
SEARCHED_BYTES = 64 * 1024 * 1024
"""Of added lines that are searched for secrets; a larger change is refused."""
LIST_BYTES = 256 * 1024 * 1024
"""Of a list of files: a tree that is larger is no work but an attack."""
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
        quota: Quota | None = None,
        check: Callable[[], None] = lambda: None,
        note: Note = lambda _name, _argv, _ended: None,
    ) -> None:
        """mirrors: the folder of all mirrors. home: the agent's own, with its credentials.

        check: called after each run of git; raises if the attempt may not go on.
        """
        self._bead, self._project, self._epoch, self._place = bead, project, epoch, place
        self._mirrors, self._quota, self._timeout_s = mirrors, quota or Quota(), timeout_s
        self._check, self._note = check, note
        self._protocols = tuple(each for each in project.rules.protocols if each in PROTOCOLS)
        self._directory, self._checkout = place.git_directory, place.checkout
        self._bare = Git(
            config=place.git_config,
            path=path,
            home=home,
            scratch=place.git_scratch,
            timeout_s=timeout_s,
            leash=leash,
            credentials=Credentials(home, project.repository),
            protocols=self._protocols,
        )
        self._git = self._bare.at(self._directory, self._checkout)
        self._strategy = Strategy(project.rules.strategy)
        self._branch = pushing.branch_of(self._strategy, bead.id, project.default_branch)
        self._token = Token(self._git, self._directory, project.repository, bead.id, epoch)
        self._borrowed = ExitStack()
        self._settled = ""
        self.parent = ""
        """The commit that the working tree began as."""
        self.earlier = ""
        """The commit of an earlier attempt at the bead that was pushed, and not reported."""
        self.read_only: tuple[Path, ...] = ()
        """What commands have to see, and may not write: the objects they borrow, submodules."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._borrowed.close()

    def check_out(self, base: str | None = None) -> str:
        """Fill the working tree, and give the commit that it is.

        base: a branch or a commit to begin from, instead of the project's default branch. After a
        push of an earlier attempt it begins where that one did: from the same parent the same work
        gives the same commit, whatever became of the default branch meanwhile.
        """
        if fault := refusals.of_address(self._project.repository, self._protocols):
            raise WorkFailed(FailureClass.WORK, fault)
        self._bare.configure()
        started = time.monotonic()
        with traces.span("checkout"):
            argv, ended = self._fill(base or self._project.default_branch, anew=False)
            if ended.exit_code != 0 and not refusals.of(ended).certain:
                log.warning("mirror_broken", why=refusals.last_words(ended))
                self._borrowed.close()
                argv, ended = self._fill(base or self._project.default_branch, anew=True)
        self._note("checkout", argv, replace(ended, duration_s=time.monotonic() - started))
        self._check()
        if ended.exit_code != 0:
            refusal = refusals.of(ended)
            raise WorkFailed(
                refusal.failure_class,
                f"{self._project.repository} cannot be checked out: {refusal.words}",
            )
        return self.parent

    def apply(self, patch: bytes, name: str = "patch") -> Ended:
        """Apply a unified diff to the working tree as it is by now."""
        if fault := patching.refused(patch):
            raise WorkFailed(FailureClass.WORK, f"the patch does not apply: {fault}")
        self._stage()
        arguments = ("apply", "--index", "--whitespace=nowarn", "-")
        with traces.span("patch"):
            endings = []
            for variant in patching.variants(patch):
                endings.append(self._git.run(*arguments, cwd=self._checkout, stdin=variant))
                if endings[-1].exit_code == 0 or endings[-1].timed_out or endings[-1].cancelled:
                    break
        ended = endings[-1] if endings[-1].exit_code == 0 else endings[0]
        self._note(name, self._git.argv(*arguments), ended)
        self._check()
        if ended.exit_code != 0:
            refusal = refusals.of(ended)
            surroundings = refusal.certain and refusal.failure_class is FailureClass.INFRA
            failure_class = FailureClass.INFRA if surroundings else FailureClass.WORK
            raise WorkFailed(failure_class, f"the patch does not apply: {refusals.words(ended)}")
        self._refuse_gitlinks(self._tree())
        return ended

    def restore_earlier(self) -> None:
        """Put what an earlier attempt pushed into the working tree, in place of the work."""
        self._ask("read-tree", "--reset", "-u", self.earlier)
        self._skip_gitlinks(self._entries(self.earlier))
        log.info("pushed_work_resumed", branch=self._branch, sha=self.earlier)

    def settle(self) -> None:
        """What differs by now is no part of the work: what a `prepare` step installed or wrote."""
        self._stage()
        self._settled = self._tree()

    def changes(self) -> Changes:
        """What the working tree holds that its parent does not, except what was settled."""
        self._stage()
        tree = self._work_alone(self._tree())
        self._refuse_gitlinks(tree)
        compared = (self.parent, tree)
        options = ("diff-tree", "-r", "-M", "--no-ext-diff", "--no-textconv")
        listed = self._print("changed", *options, "-z", "--raw", "--numstat", *compared)
        files = changes.files(listed)
        diff, truncated = self._diff(*options, "-p", "--binary", "--full-index", *compared)
        return Changes(self.parent, tree, files, diff.decode(errors="replace"), truncated)

    def scan(self, found: Changes) -> tuple[Leak, ...]:
        """What the changes seem to give away; nothing where the project's rules want no search."""
        if not self._project.rules.scan_secrets or not found:
            return ()
        listed = self._git.scratch / "baseline"
        self._git.run("cat-file", "blob", f"{found.parent}:{leaks.BASELINE}", into=listed)
        searched = self._git.scratch / "searched"
        options = ("-r", "-p", "-U0", "-M", "--text", "--no-ext-diff", "--no-textconv")
        ended = self._git.run(
            *("diff-tree", *options, "--src-prefix=a/", "--dst-prefix=b/"),
            *(found.parent, found.tree),
            into=searched,
            max_file=SEARCHED_BYTES,
        )
        self._check()
        if searched.exists() and searched.stat().st_size >= SEARCHED_BYTES:
            size = SEARCHED_BYTES // (1024 * 1024)
            self._fail(
                FailureClass.WORK,
                f"the change is larger than {size} MB, too large to be searched for secrets: "
                "leave generated files out of it, or put them into .gitignore",
            )
        if ended.exit_code != 0:
            self._fail(FailureClass.INFRA, f"git diff-tree failed: {refusals.last_words(ended)}")
        return self._search(searched, listed)

    def commit(self, found: Changes, described: str = "") -> str:
        """Commit the changes; the same work on the same parent is the same commit.

        described: what the commit says instead of the bead's title and description.
        """
        if self.earlier and found.tree == self._ask("rev-parse", f"{self.earlier}^{{tree}}"):
            return self.earlier
        arguments = ("commit-tree", found.tree, "-p", found.parent, "-F", "-")
        words = commit.message(self._bead, described)
        # The bead's own date: that of the attempt would make another commit of it.
        at = int(self._bead.created_at.timestamp())
        with traces.span("commit"):
            ended = self._git.run(*arguments, stdin=words, at=at)
        self._note("commit", self._git.argv(*arguments), ended)
        self._check()
        if ended.exit_code != 0:
            refusal = refusals.of(ended)
            self._fail(FailureClass.INFRA, f"git made no commit: {refusal.words}")
        return ended.output.strip()

    def push(self, sha: str, fence: Callable[[], None]) -> Commit:
        """Have the repository take the commit. fence: the ledger's yes; raises if it is a no."""
        is_direct = self._strategy is Strategy.DIRECT
        target = Target(self._strategy, self._branch, self.parent if is_direct else "")
        if is_direct and sha == self.earlier:
            # The branch may have moved on since, with the commit in it: nothing is left to do.
            fence()
            landed = Ended(0, 0.0, f"{sha} is in {self._branch} already")
            self._note("push", self._git.argv("merge-base", "--is-ancestor", sha), landed)
            return Commit(sha, self._branch)
        if self._token.place(self.parent) is Placed.FAILED:
            self._check()
            refusal = refusals.of(Ended(1, 0.0, self._token.words))
            self._fail(refusal.failure_class, f"{self._branch} cannot be pushed: {refusal.words}")
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

    # ----- check-out

    def _fill(self, base: str, *, anew: bool) -> tuple[tuple[str, ...], Ended]:
        for folder in (self._directory, self._checkout):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
        borrowed = self._borrow(self._project.repository, keep=f"refs/heads/{base}", anew=anew)
        self._check()
        start = self._begin_at(borrowed, base)
        make_repository(self._directory, borrowed.objects, base, "[core]\n\tbare = false\n")
        self.parent = start
        if self._epoch > 1:
            self._look_for_earlier()
        listed = self._git.run(
            *("ls-tree", "-r", "-l", "-z", self.parent),
            into=self._git.scratch / "tree",
            max_file=LIST_BYTES,
        )
        if listed.exit_code != 0:
            return borrowed.argv, listed
        entries = self._entries(self.parent, printed=True)
        self._refuse_size(entries)
        ended = self._git.run("read-tree", "--reset", "-u", self.parent)
        if ended.exit_code != 0:
            return borrowed.argv, ended
        self._skip_gitlinks(entries)
        self.read_only = (borrowed.objects,)
        self._equip(borrowed, base)
        if self._project.rules.submodules:
            self._fetch_submodules(
                self._git, self.parent, self._project.repository, self._checkout, entries, 1
            )
        output = f"{borrowed.ended.output}{ended.output}HEAD is {self.parent}\n"
        return borrowed.argv, replace(ended, output=output)

    def _borrow(
        self, repository: str, *, keep: str = "", want: str = "", anew: bool = False
    ) -> Borrowed:
        mirror = Mirror(
            self._mirrors, self._project.id, repository, self._bare, keep=keep, quota=self._quota
        )
        return self._borrowed.enter_context(mirror.borrow(want, anew=anew))

    def _begin_at(self, borrowed: Borrowed, base: str) -> str:
        """The commit of that name in the mirror."""
        mirror = self._bare.at(borrowed.directory)
        for name in (f"refs/heads/{base}", base):
            ended = mirror.run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
            if ended.exit_code == 0:
                return ended.output.strip()
        names = mirror.run("for-each-ref", "--count=10", "--format=%(refname:short)", "refs/heads")
        self._check()
        repository, has_these = self._project.repository, ", ".join(names.output.split())
        if not has_these:
            self._fail(
                FailureClass.WORK,
                f"{repository} is empty: it has no commit to begin from. Push one first",
            )
        self._fail(
            FailureClass.WORK,
            f"{repository} has no branch {base}; it has {has_these}. Correct the project's branch",
        )

    def _look_for_earlier(self) -> None:
        if self._token.withdraw_older() is Placed.FAILED:
            self._check()
            refusal = refusals.of(Ended(1, 0.0, self._token.words))
            self._fail(
                FailureClass.INFRA,
                f"{self._project.repository} cannot be asked for earlier attempts: {refusal.words}",
            )
        self.earlier = self._pushed_before()
        if self.earlier:
            self.parent = self._ask("rev-parse", "--verify", f"{self.earlier}^")
            log.info("earlier_push_found", branch=self._branch, sha=self.earlier)

    def _pushed_before(self) -> str:
        """The commit of this bead that the branch has already; empty if none."""
        fetch = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--")
        ref = f"refs/heads/{self._branch}"
        if self._git.run(*fetch, self._project.repository, ref, out=True).exit_code != 0:
            return ""
        depth = LOOKED_BACK if self._strategy is Strategy.DIRECT else 1
        listed = self._ask(
            *("log", f"-{depth}", "--fixed-strings", f"--grep=Bead-Id: {self._bead.id}"),
            *("--format=%H %(trailers:key=Bead-Id,valueonly,separator=%x20)", "FETCH_HEAD"),
        )
        if self._strategy is Strategy.BRANCH:
            tip = self._ask("rev-parse", "FETCH_HEAD")
            listed = listed if listed.startswith(tip) else ""
        for line in listed.splitlines():
            sha, _, whose = line.partition(" ")
            if whose.strip() == self._bead.id:
                return sha
        return ""

    def _refuse_size(self, entries: Sequence[Entry]) -> None:
        limit = self._project.rules.limits.disk_mb * 1024 * 1024
        size = sum(entry.size for entry in entries)
        if limit and size > limit:
            self._fail(
                FailureClass.WORK,
                f"{self._project.repository} is too large to be checked out: "
                f"{size // (1024 * 1024)} MB, and the project's rules allow "
                f"{self._project.rules.limits.disk_mb} MB (limits.disk_mb)",
            )

    def _skip_gitlinks(self, entries: Sequence[Entry]) -> None:
        """Have git never look into what lies where a submodule belongs: it would run git there."""
        links = b"".join(entry.path + b"\0" for entry in entries if entry.mode == GITLINK)
        if links:
            self._ask("update-index", "--skip-worktree", "-z", "--stdin", stdin=links)

    def _equip(self, borrowed: Borrowed, base: str) -> None:
        """Give the commands a repository of their own around the working tree."""
        name, email = IDENTITY
        theirs = self._checkout / ".git"
        theirs.mkdir(mode=0o700)
        who = f"[core]\n\tbare = false\n[user]\n\tname = {name}\n\temail = {email}\n"
        make_repository(theirs, borrowed.objects, base, who)
        refs = self._bare.at(borrowed.directory)
        if not has(refs, self.parent):
            # Where an earlier attempt began, and the repository's branches have left it since.
            self._bare.at(theirs).run("fetch", "--quiet", str(self._directory), self.parent)
        listed = self._git.scratch / "refs"
        format_ = ("--format=%(objectname) %(refname)", "refs/heads", "refs/tags")
        refs.run("for-each-ref", *format_, into=listed)
        lines = [f"{self.parent} refs/heads/{base}\n"]
        for line in listed.read_text(errors="surrogateescape").splitlines():
            sha, _, ref = line.partition(" ")
            lines.append(f"{sha} {ref.replace('refs/heads/', 'refs/remotes/origin/', 1)}\n")
        packed = theirs / "packed-refs"
        packed.write_text("".join(lines), errors="surrogateescape")
        shutil.copy(self._directory / "index", theirs / "index")

    def _fetch_submodules(
        self, git: Git, sha: str, parent: str, folder: Path, entries: Sequence[Entry], depth: int
    ) -> None:
        links = [entry for entry in entries if entry.mode == GITLINK]
        if not links:
            return
        listed = self._git.scratch / "gitmodules"
        git.run("config", "-z", f"--blob={sha}:.gitmodules", "--list", into=listed)
        addresses = submodules.urls(listed.read_bytes())
        if depth > submodules.MAX_DEPTH or len(links) > submodules.MAX_COUNT:
            self._fail(
                FailureClass.WORK,
                f"{self._project.repository} has more than {submodules.MAX_COUNT} submodules, or "
                f"more than {submodules.MAX_DEPTH} within each other",
            )
        for link in links:
            name = changes.name(link.path)
            if name not in addresses:
                self._fail(FailureClass.WORK, f"the submodule {name} has no address")
            address = submodules.address(addresses[name], parent)
            if fault := submodules.fault(address, self._protocols):
                self._fail(FailureClass.WORK, f"the submodule {name} cannot be fetched: {fault}")
            place = folder / os.fsdecode(link.path)
            inner = self._fill_submodule(address, link.sha, place)
            self.read_only += (place,)
            self._fetch_submodules(*inner, depth + 1)

    def _fill_submodule(
        self, address: str, sha: str, place: Path
    ) -> tuple[Git, str, str, Path, Sequence[Entry]]:
        borrowed = self._borrow(address, want=sha)
        mirror = self._bare.at(borrowed.directory, place)
        place.mkdir(exist_ok=True)
        index = {"GIT_INDEX_FILE": str(self._git.scratch / f"index-{len(self.read_only)}")}
        listed = self._git.scratch / "tree"
        ended = mirror.run("ls-tree", "-r", "-l", "-z", sha, into=listed, max_file=LIST_BYTES)
        if ended.exit_code == 0:
            entries = entries_of(listed.read_bytes())
            self._refuse_size(entries)
            ended = mirror.run("read-tree", "--reset", "-u", sha, environment=index)
        self._check()
        if ended.exit_code != 0:
            refusal = refusals.of(ended)
            self._fail(FailureClass.INFRA, f"{address} cannot be checked out: {refusal.words}")
        return mirror, sha, address, place, entries

    # ----- what changed

    def _stage(self) -> None:
        """Have the index hold what the working tree does, ignored files excepted."""
        try:
            is_folder = stat.S_ISDIR(self._checkout.lstat().st_mode)
        except OSError:
            is_folder = False
        if not is_folder:
            self._fail(FailureClass.WORK, "the work removed its own working tree")
        for trap in traps(self._checkout):
            self._fail(FailureClass.WORK, f"{trap} is no file, so that git cannot read it")
        others = self._print("others", "ls-files", "-z", "--others", "--exclude-standard")
        for path in others.split(b"\0"):
            if path.endswith(b"/"):
                self._fail(
                    FailureClass.WORK,
                    f"{changes.name(path)} holds a repository of its own, which cannot be "
                    "committed: remove its .git, or put it into .gitignore",
                )
        ended = self._git.run("add", "--all", cwd=self._checkout)
        self._check()
        if ended.exit_code != 0:
            refusal = refusals.of(ended)
            surroundings = refusal.certain and refusal.failure_class is FailureClass.INFRA
            self._fail(
                FailureClass.INFRA if surroundings else FailureClass.WORK,
                f"what the work left cannot be committed: {refusals.words(ended)}",
            )

    def _tree(self) -> str:
        return self._ask("write-tree")

    def _work_alone(self, tree: str) -> str:
        """The parent's tree with what changed since it was settled."""
        if not self._settled:
            return tree
        raw = self._print("since", "diff-tree", "-r", "-z", "--raw", self._settled, tree)
        edits = b"".join(
            f"{entry.mode if entry.how != 'D' else '0'} {entry.sha}\t".encode() + entry.path + b"\0"
            for entry in changes.entries(raw)
        )
        index = {"GIT_INDEX_FILE": str(self._git.scratch / "index-of-work")}
        self._ask("read-tree", "--reset", self.parent, environment=index)
        self._ask(
            *("update-index", "--add", "--replace", "-z", "--index-info"),
            stdin=edits,
            environment=index,
        )
        return self._ask("write-tree", environment=index)

    def _refuse_gitlinks(self, tree: str) -> None:
        raw = self._print("links", "diff-tree", "-r", "-z", "--raw", self.parent, tree)
        for entry in changes.entries(raw):
            if entry.is_gitlink:
                self._fail(
                    FailureClass.WORK,
                    f"the work adds, moves or removes the submodule {changes.name(entry.path)}, "
                    "which agents do not",
                )

    def _diff(self, *arguments: str) -> tuple[bytes, bool]:
        kept = self._git.scratch / "diff"
        ended = self._git.run(*arguments, into=kept, max_file=DIFF_BYTES)
        self._check()
        text = kept.read_bytes() if kept.exists() else b""
        truncated = len(text) >= DIFF_BYTES
        if ended.exit_code != 0 and not truncated:
            self._fail(FailureClass.INFRA, f"git diff-tree failed: {refusals.last_words(ended)}")
        return text, truncated

    def _search(self, searched: Path, listed: Path) -> tuple[Leak, ...]:
        report = self._git.scratch / "leaks"
        ended = command.run(
            [sys.executable, "-m", "workers.leak_search", str(searched), str(listed), str(report)],
            cwd=self._git.scratch,
            environment={
                "PATH": self._git.path,
                "LANG": "C.UTF-8",
                "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
            },
            timeout_s=self._timeout_s,
            leash=self._git.leash,
        )
        self._check()
        if ended.exit_code != 0:
            why = refusals.last_words(ended)
            self._fail(FailureClass.INFRA, f"the search for secrets did not end well: {why}")
        return tuple(Leak(**leak) for leak in json.loads(report.read_text()))

    # ----- git

    def _push_once(self, target: Target, sha: str) -> tuple[tuple[str, ...], Ended]:
        arguments = (
            *("push", "--porcelain", "--no-verify", "--no-recurse-submodules", target.lease),
            *(*self._token.options, "--", self._project.repository, f"{sha}:{target.ref}"),
            *self._token.refspecs,
        )
        with traces.span("push"):
            return self._git.argv(*arguments), self._git.run(*arguments, out=True)

    def _ask(
        self, *arguments: str, stdin: bytes = b"", environment: dict[str, str] | None = None
    ) -> str:
        ended = self._git.run(*arguments, stdin=stdin, environment=environment)
        self._check()
        if ended.exit_code != 0:
            refusal = refusals.of(ended)
            self._fail(FailureClass.INFRA, f"git {arguments[0]} failed: {refusal.words}")
        return ended.output.strip()

    def _print(self, name: str, *arguments: str) -> bytes:
        """All that git prints, which may be long."""
        file = self._git.scratch / name
        ended = self._git.run(*arguments, into=file, max_file=LIST_BYTES)
        self._check()
        if ended.exit_code != 0:
            refusal = refusals.of(ended)
            self._fail(FailureClass.INFRA, f"git {arguments[0]} failed: {refusal.words}")
        return file.read_bytes()

    def _entries(self, sha: str, *, printed: bool = False) -> Sequence[Entry]:
        if printed:
            return entries_of((self._git.scratch / "tree").read_bytes())
        return entries_of(self._print("tree", "ls-tree", "-r", "-l", "-z", sha))

    def _fail(self, failure_class: FailureClass, reason: str) -> NoReturn:
        raise WorkFailed(failure_class, reason)
