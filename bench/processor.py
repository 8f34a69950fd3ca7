"""The processor's time that each service of a stack takes, with all of its children."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress

from bench.memory import PROC, SUPERVISOR, family
from loom.drill.small import Small

ASKER = "who asks"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Processor:
    """What has been spent so far, by service, the bench's own processes, and who asks of them."""

    def __init__(self, site: Small, others: Mapping[str, int]) -> None:
        self._site, self._others = site, others

    def spent_s(self) -> dict[str, float]:
        """Seconds since each began. A child that has ended counts no more."""
        pids = dict(self._others) | self._site.processes()
        found = {name: _seconds(family(pid)) for name, pid in pids.items()}
        found[SUPERVISOR] = _seconds([self._site.stack.supervisor.pid])
        found[ASKER] = _seconds([os.getpid()])
        return found


def _seconds(pids: Iterable[int]) -> float:
    return sum(map(_ticks, pids)) / TICKS_PER_S


def _ticks(pid: int) -> int:
    """User's and system's; none of a process that has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    return 0
