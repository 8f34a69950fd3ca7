"""Processes that belong to a home, whoever started them: found in /proc by what they carry."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loom.stack.home import Home


@dataclass(frozen=True, slots=True)
class Remain:
    """A process, and how it names itself."""

    pid: int
    command: str


def of(home: Home) -> list[Remain]:
    """Every process that the stack of this home started.

    The supervisor gives each LOOM_STACK in its environment. What has dropped its environment still
    works in one of the home's folders, and unlike a person's shell there it has no terminal.
    """
    mark = f"LOOM_STACK={home.path}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        try:
            carries = mark in (process / "environ").read_bytes().split(b"\0")
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            here = (process / "cwd").readlink()
            terminal = (process / "stat").read_text().rpartition(")")[2].split()[4]
        except OSError:
            continue
        works_here = terminal == "0" and any(
            here.is_relative_to(folder)
            for folder in (home.run, home.path / "data", home.workspaces)
        )
        if words and (carries or works_here):
            found.append(Remain(int(process.name), words.strip()[:120]))
    return found


def end(home: Home, patience_s: float, pause: Callable[[float], None] = time.sleep) -> list[Remain]:
    """End what is left: by TERM, then by KILL once patience has run out. What outlives even that.

    patience_s: seconds for an orderly end.
    """
    first = of(home)
    _signal(first, signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    while (left := of(home)) and time.monotonic() < deadline:
        pause(0.1)
    _signal(left, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while (left := of(home)) and time.monotonic() < deadline:
        pause(0.1)
    return left


def _signal(remains: list[Remain], number: signal.Signals) -> None:
    for remain in remains:
        try:
            os.kill(remain.pid, number)
        except (ProcessLookupError, PermissionError):
            continue
