"""What a drill's beads do to the outside: lines that commands leave, and commits."""

from __future__ import annotations

import subprocess
from pathlib import Path

from loom.drill.book import Sort
from loom.drill.commits import commits, patch, tips
from loom.drill.effects import Effects
from loom.drill.origin import lay_out
from loom.stack import accounts


def test_every_run_of_a_command_leaves_its_line_and_ends_as_told(tmp_path: Path) -> None:
    effects = Effects(tmp_path)
    effects.lay_out()

    codes = [
        subprocess.run(effects.command("n-1", sort), check=False, timeout=30).returncode
        for sort in (Sort.PATCH, Sort.VERIFY, Sort.FAIL)
    ]

    assert codes == [0, 0, 1]
    assert effects.runs() == {"n-1": 3}


def test_git_is_asked_which_commits_there_are_and_whose(tmp_path: Path) -> None:
    bare, clone = tmp_path / "bare.git", tmp_path / "clone"
    lay_out(bare, accounts.Accounts(*[_me()] * 5, switching=False))

    def git(*words: str, text: str = "") -> None:
        subprocess.run(["git", *words], input=text, check=True, capture_output=True, text=True)

    git("clone", "--quiet", str(bare), str(clone))
    git("-C", str(clone), "apply", "--index", text=patch("n-1"))
    git(
        "-C", str(clone), "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "--quiet",
        "-m", "A bead\n\nBead-Id: bd-1",
    )  # fmt: skip
    git("-C", str(clone), "push", "--quiet", "origin", "HEAD:refs/heads/agent/bd-1")

    (found,) = commits(bare)
    assert (found.ref, found.beads) == ("agent/bd-1", ("bd-1",))
    assert tips(bare) == {"bd-1": found.sha}


def _me() -> accounts.Account:
    return accounts.of_this_process("daemon", "nobody").operator
