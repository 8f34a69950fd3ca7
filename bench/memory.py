"""Memory of each process of a stack, by service, with what each has for itself told apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from loom.drill.small import Small

PROC = Path("/proc")
SUPERVISOR = "supervisor"


def measure(site: Small, peer_pids: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Bytes of each service with all of its children, the stack's sum, and those of the peers.

    pss: what is shared counts by the share of each that has it, so that these can be summed. rss:
    what is shared counts in full for each. Page cache is in neither.
    """
    services = {name: _tree(pid) for name, pid in sorted(site.processes().items())}
    services[SUPERVISOR] = _sizes([site.stack.supervisor.pid])
    return {
        "services": services,
        "total": _total(services.values()),
        "peers": {name: _tree(pid) for name, pid in (peer_pids or {}).items()},
    }


def _tree(pid: int) -> dict[str, int]:
    return _sizes(family(pid))


def _sizes(pids: Iterable[int]) -> dict[str, int]:
    return _total(each for each in map(_of, pids) if each)


def _total(several: Iterable[Mapping[str, int]]) -> dict[str, int]:
    found = {"pss_bytes": 0, "rss_bytes": 0, "processes": 0}
    for each in several:
        for key in found:
            found[key] += each[key]
    return found


def family(pid: int) -> Iterator[int]:
    """The process and all that it started."""
    yield pid
    for task in (PROC / str(pid) / "task").glob("*/children"):
        children: list[str] = []
        with suppress(FileNotFoundError, ProcessLookupError):
            children = task.read_text().split()
        for child in children:
            yield from family(int(child))


def _of(pid: int) -> dict[str, int]:
    """What the kernel says of one process; nothing if it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
        fields = (line.split() for line in lines[1:])
        kilobytes = {field[0]: int(field[1]) for field in fields}
        return {
            "pss_bytes": kilobytes["Pss:"] * 1024,
            "rss_bytes": kilobytes["Rss:"] * 1024,
            "processes": 1,
        }
    return {}
