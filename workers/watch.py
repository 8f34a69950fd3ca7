"""Watching what the kernel does not hold: memory, processes and disk of a command's all together.

They are looked at a few times a second while they run. A command can be over a limit by what it
gets in that time.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from loom.domain.rules import Limits
from workers.crowd import Crowd
from workers.limits import MIB, Hit, judge, judge_disk, judge_room

LOOK_S = 0.1
"""Seconds between two looks, unless they would take more than a tenth of the time."""
LOOK_AS_ROOT_S = 0.02
"""The same for an agent that is root, as then the kernel does not limit the number of processes."""
COUNT_S = 30.0
"""Seconds between two counts of a workspace's disk, unless it fills faster."""


class Watch:
    """Looks at a command's processes and disk, as often as it is asked to and is due."""

    def __init__(
        self,
        limits: Limits,
        crowd: Crowd,
        folders: Sequence[Path],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """folders: what it may write to; together they are its workspace."""
        self._limits, self._crowd, self._now = limits, crowd, now
        self._disk = _Disk(limits, crowd, folders, now) if folders else None
        self._due = 0.0
        self._pause_s = LOOK_AS_ROOT_S if os.geteuid() == 0 else LOOK_S

    def look(self) -> Hit | None:
        """The limit that is reached, if one is."""
        began = self._now()
        if began < self._due:
            return None
        usage = self._crowd.usage(self._limits.memory_mb * MIB)
        hit = judge(usage, self._limits)
        if hit is None and self._disk is not None:
            hit = self._disk.look()
        ended = self._now()
        self._due = ended + max(self._pause_s, 10 * (ended - began))
        return hit

    def finish(self) -> Hit | None:
        """Whether the disk is over its limit now that the command has ended; the watch is over."""
        return self._disk.finish() if self._disk is not None else None

    def close(self) -> None:
        """End what it has running."""
        if self._disk is not None:
            self._disk.close()


class _Disk:
    """Counts a workspace now and then, and as soon as the disk got fuller by what was left to it.

    `du` counts, as it goes through folders of any depth; what it may not read it leaves out.
    """

    def __init__(
        self, limits: Limits, crowd: Crowd, folders: Sequence[Path], now: Callable[[], float]
    ) -> None:
        self._limits, self._crowd, self._folders, self._now = limits, crowd, folders, now
        self._device = folders[0].stat().st_dev
        self._counting: subprocess.Popen[bytes] | None = None
        self._free_then = 0
        self._left = 0
        self._next_count = 0.0
        self._began = 0.0

    def look(self) -> Hit | None:
        room = os.statvfs(self._folders[0])
        free = room.f_bavail * room.f_frsize
        if hit := judge_room(free, room.f_favail, counts_files=room.f_files > 0):
            return hit
        if self._counting is not None:
            return self._take() if self._counting.poll() is not None else None
        if self._now() >= self._next_count or self._free_then - free > self._left:
            self._free_then = free
            self._began = self._now()
            self._counting = self._count()
        return None

    def finish(self) -> Hit | None:
        self.close()
        self._counting = self._count()
        try:
            self._counting.wait(timeout=60)
        except subprocess.TimeoutExpired:
            return None
        return self._take()

    def close(self) -> None:
        if self._counting is not None:
            self._counting.kill()
            self._counting.communicate()
            self._counting = None

    def _count(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["du", "-s", "-c", "-x", "-B1", "--", *self._folders],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def _take(self) -> Hit | None:
        assert self._counting is not None  # noqa: S101 - only called while one is there
        said, _ = self._counting.communicate()
        self._counting = None
        words = said.split()
        used = int(words[-2]) if len(words) > 1 else 0
        used += self._crowd.unlinked(self._device)
        took = self._now() - self._began
        self._left = max(0, self._limits.disk_mb * MIB - used)
        self._next_count = self._now() + max(COUNT_S, 20 * took)
        return judge_disk(used, self._limits)
