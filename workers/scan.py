"""The search of a change for secrets, before it is committed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from loom.domain.evidence import FailureClass
from workers import command, leaks, staging
from workers.asking import Asking, must
from workers.changes import Changes
from workers.leaks import Leak
from workers.mask import Mask
from workers.ways.way import WorkFailed

SEARCHED_BYTES = 64 * 1024 * 1024
"""Of added lines that are searched; a larger change is refused."""


def search(asking: Asking, found: Changes, mask: Mask) -> tuple[Leak, ...]:
    """What the change seems to give away. asking: Loom's own repository, which holds it.

    mask: what is a secret for certain, whatever it looks like. Raises WorkFailed for a change that
    is too large to be searched.
    """
    listed, searched = asking.file("baseline"), asking.file("searched")
    asking.git.run("cat-file", "blob", f"{found.parent}:{leaks.BASELINE}", into=listed)
    # As text, whatever an attribute says: a file is hidden from a diff by one line.
    options = ("-p", "-U0", "--text", "--src-prefix=a/", "--dst-prefix=b/")
    ended = asking.git.run(
        *(*staging.COMPARE, *options, found.parent, found.tree),
        into=searched,
        max_file=SEARCHED_BYTES,
    )
    asking.check()
    if searched.exists() and searched.stat().st_size >= SEARCHED_BYTES:
        raise WorkFailed(
            FailureClass.WORK,
            f"the change is larger than {SEARCHED_BYTES // (1024 * 1024)} MB, too large to be "
            "searched for secrets: leave generated files out, or put them into .gitignore",
        )
    must(ended, "git diff-tree failed")
    given = leaks.of_credentials(searched.read_bytes(), mask)
    return (*given, *_guessed(asking, searched, listed))


def _guessed(asking: Asking, searched: Path, listed: Path) -> tuple[Leak, ...]:
    """What looks like a secret, found by a process of its own."""
    report, git = asking.file("leaks"), asking.git
    argv = [sys.executable, "-m", "workers.leak_search"]
    root = Path(__file__).resolve().parents[1]
    ended = command.run(
        [*argv, str(searched), str(listed), str(report)],
        cwd=git.scratch,
        environment={"PATH": git.path, "LANG": "C.UTF-8", "PYTHONPATH": str(root)},
        timeout_s=git.timeout_s,
        leash=git.leash,
    )
    asking.check()
    must(ended, "the search for secrets did not end well")
    return tuple(Leak(**leak) for leak in json.loads(report.read_text()))
