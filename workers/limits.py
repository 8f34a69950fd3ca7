"""What a command may use: what the kernel holds it to, and whether it is over what is watched."""

from __future__ import annotations

import resource
import signal
from dataclasses import dataclass
from enum import StrEnum

from loom.domain.rules import Limits

MIB = 1024 * 1024
OPEN_FILES = (1_024, 16_384)
"""How many files a process may have open, and to what it may raise that itself."""
KEPT_FREE_BYTES = 128 * MIB
KEPT_FREE_FILES = 1_000
"""Below this the disk of a workspace counts as full: the agent itself has to go on working."""
CPU_GRACE_S = 2
"""Seconds of processor time between the watch's limit and the kernel's."""


class Limit(StrEnum):
    """What a command had too much of."""

    CPU = "cpu"
    MEMORY = "memory"
    PROCESSES = "processes"
    FILE = "file"
    OUTPUT = "output"
    DISK = "disk"


@dataclass(frozen=True, slots=True)
class Hit:
    """A limit that was reached. words: how, for a person."""

    limit: Limit
    words: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What processes use together. tasks: threads, each process being one at least.

    longest_cpu_s: of the one process that used most.
    """

    tasks: int = 0
    memory: int = 0
    longest_cpu_s: float = 0.0


def hold(pid: int, limits: Limits, *, own_namespace: bool) -> None:
    """Set the kernel's limits for a process that has not begun its work, and for its children.

    own_namespace: it is in a user namespace of its own, in which the number of processes is counted
    apart from all others of the same user; the kernel holds everybody but root to that number.
    Raises OSError.
    """
    wanted = {
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_FSIZE: (limits.file_mb * MIB,) * 2,
        resource.RLIMIT_MEMLOCK: (8 * MIB,) * 2,
    }
    if limits.cpu_s:
        wanted[resource.RLIMIT_CPU] = (limits.cpu_s + CPU_GRACE_S, limits.cpu_s + 2 * CPU_GRACE_S)
    if own_namespace:
        # The namespace's first process, which is bwrap's own, counts as well.
        wanted[resource.RLIMIT_NPROC] = (limits.processes + 1,) * 2
    for which, pair in wanted.items():
        _soft, most = resource.prlimit(pid, which)
        soft, hard = (v if most == resource.RLIM_INFINITY else min(v, most) for v in pair)
        resource.prlimit(pid, which, (soft, hard))


def judge(usage: Usage, limits: Limits) -> Hit | None:
    """The limit that the usage is over; the number of processes may not even reach its own."""
    if usage.memory > limits.memory_mb * MIB:
        used = usage.memory // MIB
        return Hit(
            Limit.MEMORY, f"its processes used {used} MB of memory, and may use {limits.memory_mb}"
        )
    if usage.tasks >= limits.processes:
        return Hit(
            Limit.PROCESSES,
            f"it had {usage.tasks} processes and threads, and may have fewer than "
            f"{limits.processes}",
        )
    if limits.cpu_s and usage.longest_cpu_s >= limits.cpu_s:
        return Hit(Limit.CPU, f"a process of it used all of its {limits.cpu_s} s of processor time")
    return None


def judge_disk(used: int, limits: Limits) -> Hit | None:
    """Whether the workspace holds more than it may."""
    if used <= limits.disk_mb * MIB:
        return None
    return Hit(Limit.DISK, f"the workspace holds {used // MIB} MB, and may hold {limits.disk_mb}")


def judge_room(free: int, free_files: int, *, counts_files: bool) -> Hit | None:
    """Whether the disk under the workspace is too full to go on."""
    if free < KEPT_FREE_BYTES:
        return Hit(Limit.DISK, f"the disk of the workspace is full: {free // MIB} MB are free")
    if counts_files and free_files < KEPT_FREE_FILES:
        return Hit(
            Limit.DISK, f"the disk of the workspace is full: it has room for {free_files} files"
        )
    return None


def by_signal(number: int, limits: Limits) -> Hit | None:
    """The kernel's limit that a command ran into which was ended by this signal."""
    if number == signal.SIGXCPU:
        return judge(Usage(longest_cpu_s=limits.cpu_s), limits) if limits.cpu_s else None
    if number == signal.SIGXFSZ:
        return Hit(Limit.FILE, f"it wrote a file of more than {limits.file_mb} MB")
    return None
