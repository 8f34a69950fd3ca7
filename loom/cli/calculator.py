"""The demo's repository: a small Python package whose mean is wrong, and two patches for it."""

from __future__ import annotations

import difflib
import os
import pwd
import subprocess
from pathlib import Path

from loom.errors import Unavailable
from loom.stack.home import Home

BRANCH = "main"
TEST_COMMAND = ("python3", "-m", "unittest", "-q")
SOURCE = "calculator/__init__.py"

_SOURCE = '''\
"""A small calculator."""


def add(a, b):
    """The sum of a and b."""
    return a + b


def mean(numbers):
    """The arithmetic mean; raises ValueError if there are no numbers."""
    if not numbers:
        raise ValueError("the mean of no numbers")
    return sum(numbers) / (len(numbers) - 1)
'''

_TESTS = """\
import unittest

from calculator import add, mean


class CalculatorTest(unittest.TestCase):
    def test_adds(self):
        self.assertEqual(add(2, 3), 5)

    def test_means(self):
        self.assertEqual(mean([2, 4, 6]), 4)

    def test_refuses_the_mean_of_nothing(self):
        with self.assertRaises(ValueError):
            mean([])
"""

FILES = {
    SOURCE: _SOURCE,
    "tests/__init__.py": "",
    "tests/test_calculator.py": _TESTS,
    "README.md": "# calculator\n\nThe mean is wrong: `loom demo` mends it.\n",
}


def _patch(old: str, new: str) -> str:
    """A unified diff of the source that puts new for old."""
    after = _SOURCE.replace(old, new)
    lines = difflib.unified_diff(
        _SOURCE.splitlines(keepends=True),
        after.splitlines(keepends=True),
        f"a/{SOURCE}",
        f"b/{SOURCE}",
    )
    return "".join(lines)


MENDS = _patch("(len(numbers) - 1)", "len(numbers)")
MISSES = _patch("(len(numbers) - 1)", "(len(numbers) + 1)")


def path(home: Home) -> Path:
    """Where the bare repository is."""
    return home.demo / "calculator.git"


def lay_out(home: Home, agent_user: str) -> Path:
    """Make the bare repository, or put its branch main back where the patches expect it.

    Its one commit is the same at every run, and branches of agents stay. Started by root it
    belongs to the agents' user, who pushes to it. Raises Unavailable with git's words.
    """
    repository = path(home)
    home.demo.mkdir(parents=True, exist_ok=True)
    home.demo.chmod(0o755)
    _git("init", "--quiet", "--bare", f"--initial-branch={BRANCH}", "--template=", str(repository))
    _git(f"--git-dir={repository}", "fast-import", "--quiet", "--force", text=_stream())
    if os.geteuid() == 0:
        try:
            owner = pwd.getpwnam(agent_user)
        except KeyError as error:
            raise Unavailable(
                f"this machine has no user {agent_user!r}: set LOOM_AGENT_USER", user=agent_user
            ) from error
        for folder, folders, files in os.walk(repository):
            for name in (".", *folders, *files):
                os.lchown(Path(folder, name), owner.pw_uid, owner.pw_gid)
    return repository


def tip(home: Home, branch: str) -> str:
    """The commit that the branch of the bare repository is at; empty if there is none."""
    answer = subprocess.run(
        ["git", f"--git-dir={path(home)}", "rev-parse", "--verify", "--quiet",
         f"refs/heads/{branch}"],
        env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    return answer.stdout.strip()


def _stream() -> str:
    """The commit in the language of git-fast-import(1); its dates are fixed, so its id is too."""
    who = "Loom <loom@localhost> 1767225600 +0000"
    message = "A calculator whose mean is wrong\n"
    parts = [
        f"commit refs/heads/{BRANCH}\nauthor {who}\ncommitter {who}\n",
        f"data {len(message)}\n{message}",
        "deleteall\n",
    ]
    for name, text in FILES.items():
        parts.append(f"M 100644 inline {name}\ndata {len(text.encode())}\n{text}\n")
    return "".join((*parts, "done\n"))


def _git(*arguments: str, text: str = "") -> None:
    # An explicit --git-dir is also how root may work in a repository that is another user's.
    answer = subprocess.run(
        ["git", *arguments],
        env=_environment(),
        input=text,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if answer.returncode:
        raise Unavailable(
            f"git {arguments[-1]} failed, so the demo has no repository: {answer.stderr.strip()}"
        )


def _environment() -> dict[str, str]:
    """No configuration of the user's: templates, hooks and signing stay out."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
    }
