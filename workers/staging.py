"""What a working tree holds that its commit does not, by an index that no command ever sees."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

from loom.domain.evidence import FailureClass
from workers import changes, refusals
from workers.asking import Asking
from workers.changes import GITLINK, Changes
from workers.command import Ended
from workers.tree import Entry, traps
from workers.ways.way import WorkFailed

DIFF_BYTES = 1024 * 1024
"""Of the diff that is kept; what is longer is cut."""
COMPARE = ("diff-tree", "-r", "-M", "--no-ext-diff", "--no-textconv")

_WORK, _INFRA = FailureClass.WORK, FailureClass.INFRA


class Staging:
    """The index of one working tree."""

    def __init__(self, asking: Asking, checkout: Path) -> None:
        self._asking, self._checkout = asking, checkout
        self._settled = ""

    def fill(self, sha: str) -> Ended:
        """Make the working tree and the index what that commit is."""
        return self._asking.git.run("read-tree", "--reset", "-u", sha)

    def skip_submodules(self, entries: Sequence[Entry]) -> None:
        """Have git never look into what lies where a submodule belongs.

        It would run git there, with the configuration that it finds: filters, and other programs.
        """
        links = b"".join(entry.path + b"\0" for entry in entries if entry.mode == GITLINK)
        if links:
            self._asking.ask("update-index", "--skip-worktree", "-z", "--stdin", stdin=links)

    def stage(self) -> str:
        """Have the index hold what the working tree does, ignored files excepted; its tree."""
        self._refuse_what_git_cannot_read()
        ended = self._asking.git.run("add", "--all", cwd=self._checkout)
        self._asking.check()
        if ended.exit_code != 0:
            raise WorkFailed(
                blame(ended), f"what the work left cannot be committed: {refusals.words(ended)}"
            )
        return self._asking.ask("write-tree")

    def settle(self) -> None:
        """What differs by now is no part of the work."""
        self._settled = self.stage()

    def changes(self, parent: str) -> Changes:
        """What differs from the parent, except what was settled and stayed as it was."""
        tree = self._work_alone(parent, self.stage())
        self.refuse_submodules(parent, tree)
        listed = self._asking.list(*COMPARE, "-z", "--raw", "--numstat", parent, tree)
        kept = self._asking.file("diff")
        ended = self._asking.git.run(
            *(*COMPARE, "-p", "--binary", "--full-index", parent, tree),
            into=kept,
            max_file=DIFF_BYTES,
        )
        self._asking.check()
        text = kept.read_bytes() if kept.exists() else b""
        truncated = len(text) >= DIFF_BYTES
        if ended.exit_code != 0 and not truncated:
            raise WorkFailed(_INFRA, f"git diff-tree failed: {refusals.of(ended).words}")
        diff = text.decode(errors="replace")
        return Changes(parent, tree, changes.files(listed), diff, truncated)

    def refuse_submodules(self, parent: str, tree: str) -> None:
        """Raise WorkFailed if the tree names another repository's commit that the parent does not.

        What a patch or a command puts there is looked into by git from then on.
        """
        raw = self._asking.list("diff-tree", "-r", "-z", "--raw", parent, tree)
        for entry in changes.entries(raw):
            if entry.is_gitlink:
                raise WorkFailed(
                    _WORK,
                    f"the work adds, moves or removes the submodule {changes.name(entry.path)}, "
                    "which agents do not",
                )

    def _refuse_what_git_cannot_read(self) -> None:
        try:
            is_folder = stat.S_ISDIR(self._checkout.lstat().st_mode)
        except OSError:
            is_folder = False
        if not is_folder:
            raise WorkFailed(_WORK, "the work removed its own working tree")
        for trap in traps(self._checkout):
            raise WorkFailed(_WORK, f"{trap} is no file, so that git cannot read it: remove it")
        others = self._asking.list("ls-files", "-z", "--others", "--exclude-standard")
        for path in others.split(b"\0"):
            if path.endswith(b"/"):
                raise WorkFailed(
                    _WORK,
                    f"{changes.name(path)} holds a repository of its own, which cannot be "
                    "committed: remove its .git, or put it into .gitignore",
                )

    def _work_alone(self, parent: str, tree: str) -> str:
        """The parent's tree with what changed since it was settled."""
        if not self._settled:
            return tree
        raw = self._asking.list("diff-tree", "-r", "-z", "--raw", self._settled, tree)
        edits = b"".join(
            f"{entry.mode if entry.how != 'D' else '0'} {entry.sha}\t".encode() + entry.path + b"\0"
            for entry in changes.entries(raw)
        )
        index = {"GIT_INDEX_FILE": str(self._asking.file("index-of-work"))}
        self._asking.ask("read-tree", "--reset", parent, environment=index)
        self._asking.ask(
            *("update-index", "--add", "--replace", "-z", "--index-info"),
            stdin=edits,
            environment=index,
        )
        return self._asking.ask("write-tree", environment=index)


def blame(ended: Ended) -> FailureClass:
    """Whose fault it is that git could not take what a bead brings: the bead's, unless told."""
    refusal = refusals.of(ended)
    return _INFRA if refusal.certain and refusal.failure_class is _INFRA else _WORK
