"""All processes of one command, seen from outside, and what they use together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from workers.limits import Usage

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Process:
    """One process, as /proc/PID/stat tells."""

    pid: int
    parent: int
    threads: int
    resident: int
    cpu_s: float


def processes(proc: Path) -> Iterator[Process]:
    """Every process of a /proc; what ends meanwhile is left out. Raises OSError."""
    with os.scandir(proc) as entries:
        for entry in entries:
            if entry.name.isdecimal():
                with suppress(OSError, ValueError, IndexError):
                    yield _parse((proc / entry.name / "stat").read_text(errors="replace"))


def descendants(pid: int, proc: Path = Path("/proc")) -> list[Process]:
    """The process, and all that descend from it by parents that live."""
    everyone = {process.pid: process for process in processes(proc)}
    children: dict[int, list[int]] = {}
    for process in everyone.values():
        children.setdefault(process.parent, []).append(process.pid)
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        if one in everyone:
            found.append(everyone[one])
        waiting += children.pop(one, [])
    return found


def _parse(line: str) -> Process:
    # The name, in parentheses, may hold anything.
    pid, rest = line.split(" ", 1)
    fields = rest.rpartition(")")[2].split()
    return Process(
        int(pid),
        int(fields[1]),
        int(fields[17]),
        int(fields[21]) * _PAGE,
        (int(fields[11]) + int(fields[12])) / _TICKS,
    )


class Crowd:
    """The processes of one command. inside: the /proc of its pid namespace, None without one."""

    def __init__(self, pid: int, inside: Path | None) -> None:
        """pid: of its first process, as seen from here."""
        self._pid, self._inside = pid, inside

    def usage(self, memory_limit: int) -> Usage:
        """What they use now. Shared memory is told apart only when the limit depends on it."""
        proc, crowd = self._look()
        memory = sum(process.resident for process in crowd)
        if memory > memory_limit:
            memory = sum(_share(proc, process) for process in crowd)
        return Usage(
            sum(process.threads for process in crowd),
            memory,
            max((process.cpu_s for process in crowd), default=0.0),
        )

    def pids(self) -> list[int]:
        """Their numbers, as seen from here, without what keeps the namespace."""
        return [process.pid for process in descendants(self._pid) if process.pid != self._pid]

    def unlinked(self, device: int) -> int:
        """Bytes of files on the device that have no name any more, but are still open."""
        proc, crowd = self._look()
        sizes: dict[int, int] = {}
        for process in crowd:
            with suppress(OSError), os.scandir(proc / str(process.pid) / "fd") as entries:
                for entry in entries:
                    with suppress(OSError):
                        file = entry.stat()
                        if file.st_nlink == 0 and file.st_dev == device:
                            sizes[file.st_ino] = file.st_blocks * 512
        return sum(sizes.values())

    def _look(self) -> tuple[Path, list[Process]]:
        if self._inside is not None:
            with suppress(OSError):
                if _is_others(self._inside):
                    # The first process there is bwrap's own.
                    found = [process for process in processes(self._inside) if process.pid != 1]
                    return self._inside, found
        crowd = descendants(self._pid)
        if self._inside is not None:
            crowd = [process for process in crowd if process.pid != self._pid]
        return Path("/proc"), crowd


def _is_others(proc: Path) -> bool:
    """Whether it is another /proc than the machine's own, to which a path through the root of a
    sandbox leads until bwrap has changed that root.
    """
    return proc.stat().st_dev != Path("/proc").stat().st_dev


def _share(proc: Path, process: Process) -> int:
    """Its part of memory, in which what N processes share counts an Nth; at worst all of it."""
    with suppress(OSError, ValueError, IndexError):
        for line in (proc / str(process.pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return process.resident
