"""What an agent may be given that is no good, by the agent that has to fail it and go on."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_stand import git

LIMITS = {"output_mb": 1, "file_mb": 4, "disk_mb": 32, "memory_mb": 192, "processes": 50}
"""Of the project: small, so that what is too much soon is."""
REPOSITORY_MB = 2
"""All that the agent takes of one repository."""
STRAY = "4711.25"
"""Seconds that a process sleeps which got away: found by them."""


@dataclass(frozen=True)
class Bad:
    """A bead's context, and how it has to fail."""

    failure_class: str
    words: str
    context: Mapping[str, Any] = field(default_factory=dict)


def _command(failure_class: str, words: str, *argv: str, **context: Any) -> Bad:
    return Bad(failure_class, words, {"test_command": argv, "timeout_s": 20} | context)


def _python(failure_class: str, words: str, code: str, **context: Any) -> Bad:
    return _command(failure_class, words, "python3", "-c", code, **context)


FORKS_AWAY = f"""\
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execlp("sleep", "sleep", "{STRAY}")
    os._exit(0)
os.wait()
sys.exit("left a child behind")
"""
DIGS = """\
import os, sys
for n in range(1_500):
    os.mkdir("d")
    os.chdir("d")
sys.exit("dug deep")
"""
FILLS = "for n in range(100): open(f'f{n}', 'wb').write(bytes(10 ** 6))"

COMMANDS = {
    "floods": _command("work", "wrote more than 1 MB to its output", "yes"),
    "hangs": _command(
        "timeout", "did not end in 0.5 s",
        "sh", "-c", "trap '' TERM HUP INT; while :; do sleep 600; done", timeout_s=0.5,
    ),
    "forks away": _python("work", "ended with exit code 1: left a child behind", FORKS_AWAY),
    # No more than it may, twice over: an agent that is root has no kernel that holds them back.
    "forks too often": _python(
        "work", "processes and threads, and may have fewer than 50",
        "import subprocess, time\n"
        "kept = [subprocess.Popen(['sleep', '60']) for _ in range(100)]; time.sleep(60)",
    ),
    "kills its parent": _command(
        "work", "ended with exit code 3: still here",
        "sh", "-c", "kill -9 $PPID; kill -9 -1; kill -9 1; echo still here; exit 3",
    ),
    "kills itself": _command("infra", "was killed from outside", "sh", "-c", "kill -9 $$"),
    "wants all memory": _python(
        "infra", "MB of memory, and may use 192",
        "import time; kept = b'x' * 400_000_000; time.sleep(60)",
    ),
    "writes a file that is too large": _python(
        "work", "a file of more than 4 MB",
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "open('big', 'wb').write(bytes(8_000_000))",
    ),
    "fills the workspace": _python("infra", "MB, and may hold 32", FILLS),
    "digs deep": _python("work", "ended with exit code 1: dug deep", DIGS),
    "is not there": _command("work", "cannot run 'no-such-program'", "no-such-program"),
    "is no list": Bad("work", "has to be a list of strings", {"test_command": "make test"}),
}  # fmt: skip

NO_DATA = """\
diff --git a/logo b/logo
new file mode 100644
index 0000000..1234567
Binary files /dev/null and b/logo differ
"""
OTHER_BASE = f"""\
diff --git a/sums.py b/sums.py
index {"1" * 40}..{"2" * 40} 100644
GIT binary patch
delta 3
Kc$~}}00962M*si-
"""
PATCHES = {
    "binary without its data": Bad("work", "cannot apply binary patch", {"patch": NO_DATA}),
    "binary of another base": Bad("work", "the patch does not apply", {"patch": OTHER_BASE}),
    "rename of what is not there": Bad(
        "work", "gone.py: does not exist in index",
        {"patch": "diff --git a/gone.py b/x.py\nsimilarity index 100%\n"
                  "rename from gone.py\nrename to x.py\n"},
    ),
    "with CRLF that fits nowhere": Bad(
        "work", "patch failed: sums.py:1",
        {"patch": "--- a/sums.py\r\n+++ b/sums.py\r\n@@ -1 +1 @@\r\n-nothing\r\n+x\r\n"},
    ),
    "cut off": Bad(
        "work", "corrupt patch", {"patch": "--- a/sums.py\n+++ b/sums.py\n@@ -1,2 +1,2 @@\n def"}
    ),
}  # fmt: skip

RECIPES = {
    "a wrong type": ('version = 1\n[[step]]\nkind = "test"\nrun = "make"\n', "step 1.run"),
    "no TOML": ("version = \n", ".loom.toml"),
    "a step that there is not": ('version = 1\n[[step]]\nkind = "bake"\nrun = ["x"]\n', "step 1"),
}


@dataclass(frozen=True)
class BadRepository:
    """What is made in a folder, and how a bead in it has to fail."""

    words: str
    make: Callable[[Path], object]


def _bare(*options: str, **files: bytes) -> Callable[[Path], None]:
    """A bare repository of one commit with these files, or of none."""

    def make(place: Path) -> None:
        seed = place.with_suffix(".seed")
        seed.mkdir()
        git("init", "--quiet", *options, cwd=seed)
        for name, content in files.items():
            (seed / name).write_bytes(content)
        if files:
            git("add", ".", cwd=seed)
            git("commit", "--quiet", "--message=Begin", cwd=seed)
        git("clone", "--quiet", "--bare", str(seed), str(place), cwd=place.parent)

    return make


MAIN = "--initial-branch=main"
REPOSITORIES = {
    "missing": BadRepository("does not exist on the agent's machine", lambda place: None),
    "no repository": BadRepository("there is no such repository", Path.mkdir),
    "empty": BadRepository("is empty: it has no commit to begin from", _bare(MAIN)),
    "huge": BadRepository("larger than 2 MB", _bare(MAIN, big=os.urandom(3_000_000))),
    "without the default branch": BadRepository(
        "has no branch main; it has trunk", _bare("--initial-branch=trunk", a=b"x")
    ),
    "of SHA-256 names": BadRepository(
        "SHA-256 object names", _bare(MAIN, "--object-format=sha256", a=b"x")
    ),
    "larger than a workspace": BadRepository(
        "too large to be checked out", _bare(MAIN, big=bytes(33 * 1024 * 1024))
    ),
}


def strays() -> Sequence[int]:
    """Processes that got away."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                if STRAY.encode() in (process / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(process.name))
            except OSError:
                continue
    return found
