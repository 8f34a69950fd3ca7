"""Which tools stand on an agent's PATH, and their versions."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

NEEDED = ("git", "bwrap")
"""What an agent itself works with."""
ONE_S, ALL_S = 5.0, 20.0
"""How long one tool may take to tell its version, and all of them together."""
NICE = 15
"""Telling a version is nobody's hurry: beads go first."""

_VERSION = re.compile(r"\d+(?:\.\d+)+[\w.+-]*")
_ASKED_BY = {"go": "version"}


def find(names: Iterable[str], path: str) -> Mapping[str, str]:
    """Each tool that stands on that PATH, with its version; empty where it tells none in time."""
    give_up = time.monotonic() + ALL_S
    found: dict[str, str] = {}
    for name in names:
        program = shutil.which(name, path=path)
        if program:
            left_s = min(ONE_S, give_up - time.monotonic())
            question = _ASKED_BY.get(name, "--version")
            found[name] = version_in(_said([program, question], path, left_s)) if left_s > 0 else ""
    return found


def version_in(text: str) -> str:
    """The first version that a text names; empty if none."""
    match = _VERSION.search(text)
    return match[0][:100] if match else ""


def _said(argv: list[str], path: str, limit_s: float) -> str:
    """The first words of a command that is not ours: no environment of ours, and an end to it."""
    environment = {"PATH": path, "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    try:
        process = subprocess.Popen(
            ["nice", "-n", str(NICE), *argv],
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError:
        return ""
    try:
        said, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        said = b""
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()
    return said[:4096].decode(errors="replace")
