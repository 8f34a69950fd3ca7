"""Who holds a port: read from /proc, for a message that helps."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping
from pathlib import Path

from loom.errors import Conflict
from loom.stack.ports import HOST, SPAN, Ports

LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp (include/net/tcp_states.h)."""

LOWEST, HIGHEST = 20_000, 32_000
"""Below the ports that Linux gives to outgoing connections (ip_local_port_range, 32768 on)."""


def free_base() -> int:
    """The first of as many free ports in a row as a stack takes.

    A random one, as others may look side by side. Raises Conflict without any.
    """
    bases = list(range(LOWEST, HIGHEST, SPAN))
    random.shuffle(bases)
    for base in bases:
        if not taken(Ports(base).all()):
            return base
    raise Conflict(f"no {SPAN} ports in a row are free between {LOWEST} and {HIGHEST}")


def taken(ports: Mapping[str, int]) -> dict[str, int]:
    """Those of the ports that cannot be bound now."""
    return {name: port for name, port in ports.items() if not _free(port)}


def check_free(ports: Ports, prefix: str) -> None:
    """Raises Conflict naming each port that is taken, its holder, and what to run instead.

    prefix: the command to give with another base.
    """
    busy = taken(ports.all())
    if not busy:
        return
    holders = [f"{port} ({name}) by {holder(port)}" for name, port in busy.items()]
    raise Conflict(
        f"Loom wants the ports {ports.base} to {max(ports.all().values())} of {HOST}, and taken "
        f"are: {'; '.join(holders)}. Start it at others, for example "
        f"`LOOM_PORT_BASE={_another(ports)} {prefix}`",
        ports=",".join(str(port) for port in busy.values()),
    )


def holder(port: int) -> str:
    """The process that listens on the port, as far as this user may see it."""
    inodes = _listening_inodes(port)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            targets = {str(link.readlink()) for link in (process / "fd").iterdir()}
            if any(f"socket:[{inode}]" in targets for inode in inodes):
                words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                return f"pid {process.name}, {words[:120]!r}"
        except OSError:
            continue
    return "a process of another user" if inodes else "a socket that is just closing"


def _another(ports: Ports) -> int:
    for base in range(ports.base + 1000, 60000, 1000):
        if not taken(Ports(base).all()):
            return base
    return 28080


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            rows = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except FileNotFoundError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(fields[9])
    return inodes
