"""The git repository of the drill's project: bare, with one commit, and the agents' own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from loom.errors import Unavailable
from loom.stack.accounts import Account, Accounts

BRANCH = "main"
README = "README.md"
TEXT = "# The drill's project\n\nEvery bead of a drill adds one file to it.\n"


def lay_out(path: Path, who: Accounts) -> None:
    """Make the repository, if there is none; raises Unavailable with git's words."""
    if (path / "HEAD").exists():
        return
    _git("init", "--quiet", "--bare", f"--initial-branch={BRANCH}", "--template=", str(path))
    _git(f"--git-dir={path}", "fast-import", "--quiet", text=_history())
    for folder, folders, files in os.walk(path):
        for name in (".", *folders, *files):
            _give(Path(folder, name), who.agent, switching=who.switching)


def _give(path: Path, account: Account, *, switching: bool) -> None:
    if switching:
        os.lchown(path, account.uid, account.gid)


def _history() -> str:
    message = "Begin\n"
    return (
        f"commit refs/heads/{BRANCH}\n"
        "committer drill <drill@localhost> 1767225600 +0000\n"
        f"data {len(message)}\n{message}"
        f"M 100644 inline {README}\ndata {len(TEXT.encode())}\n{TEXT}\n"
    )


def _git(*arguments: str, text: str = "") -> None:
    said = subprocess.run(
        ["git", *arguments],
        input=text,
        env={"PATH": os.environ.get("PATH", ""), "GIT_CONFIG_GLOBAL": "/dev/null"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if said.returncode:
        raise Unavailable(f"git {' '.join(arguments[:2])} failed: {said.stderr.strip()[-1000:]}")
