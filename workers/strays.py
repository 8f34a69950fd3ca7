"""Processes that an attempt left behind, found by their HOME, which lies in its workspace.

A command may leave its process group, and an agent may be killed before it can kill a group. What
changes its own environment is beyond this: that takes a sandbox.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_ROUNDS = 5
"""A process may fork while it is looked for; what is killed is looked for again."""


def kill_under(folder: Path) -> int:
    """Kill every process of this user whose HOME lies under the folder; how many there were."""
    killed = 0
    for _ in range(_ROUNDS):
        found = [pid for pid in _own() if _lives_under(pid, folder)]
        if not found:
            break
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    return killed


def _own() -> list[int]:
    me = os.geteuid()
    pids = []
    for entry in os.scandir(_PROC):
        if entry.name.isdecimal():
            with suppress(OSError):
                if entry.stat().st_uid == me:
                    pids.append(int(entry.name))
    return pids


def _lives_under(pid: int, folder: Path) -> bool:
    try:
        # A process that has ended already has an empty environment.
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return f"\0HOME={folder}/".encode() in b"\0" + environment
