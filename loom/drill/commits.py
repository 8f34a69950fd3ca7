"""What a bead of the drill changes, and what git itself says of the commits that came of it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from loom.drill.origin import BRANCH
from loom.errors import Unavailable

BEAD_BRANCH = "refs/heads/agent/"
SECONDS = 60


@dataclass(frozen=True, slots=True)
class Found:
    """A commit beside the main branch. ref: its branch. beads: every Bead-Id in its trailers."""

    ref: str
    sha: str
    beads: tuple[str, ...]


def patch(nonce: str) -> str:
    """A unified diff that adds a file which no other bead adds."""
    return (
        f"diff --git a/beads/{nonce} b/beads/{nonce}\nnew file mode 100644\n"
        f"--- /dev/null\n+++ b/beads/{nonce}\n@@ -0,0 +1 @@\n+{nonce}\n"
    )


def commits(repository: Path) -> tuple[Found, ...]:
    """Every commit on every branch that is not of the main branch."""
    said = _git(
        repository, "log", "--branches", "--source", f"^refs/heads/{BRANCH}",
        "--format=%S%x09%H%x09%(trailers:key=Bead-Id,valueonly,separator=%x2C)",
    )  # fmt: skip
    found = []
    for line in said.splitlines():
        ref, sha, beads = line.split("\t")
        found.append(Found(ref, sha, tuple(filter(None, beads.split(",")))))
    return tuple(found)


def tips(repository: Path) -> dict[str, str]:
    """Where each branch of a bead is: bead id and commit."""
    said = _git(repository, "for-each-ref", "--format=%(refname)%09%(objectname)", BEAD_BRANCH)
    rows = (line.split("\t") for line in said.splitlines())
    return {ref.removeprefix(BEAD_BRANCH): sha for ref, sha in rows}


def _git(repository: Path, *arguments: str) -> str:
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
    # An explicit --git-dir is also how root may read a repository that is another user's.
    answer = subprocess.run(
        ["git", f"--git-dir={repository}", *arguments],
        env=environment, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    if answer.returncode:
        raise Unavailable(f"git {arguments[0]} failed in the drill: {answer.stderr.strip()}")
    return answer.stdout
