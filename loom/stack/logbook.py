"""The logs of a stack's services, read as they are written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from loom.errors import NotFound
from loom.stack.home import Home
from loom.stack.observe import tail

LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a service's log, as it was written."""

    service: str
    text: str

    def event(self) -> dict[str, object] | None:
        """The event in it, if it is one of Loom's own lines."""
        try:
            event = json.loads(self.text)
        except ValueError:
            return None
        return event if isinstance(event, dict) and "event" in event else None


def files(home: Home, service: str = "") -> dict[str, Path]:
    """The log of each service, or of one; raises NotFound naming those there are."""
    found = {file.stem: file for file in sorted(home.logs.glob("*.log"))}
    if not service:
        return found
    if service not in found:
        raise NotFound(
            f"{home.logs} has no log of {service!r}; it has {', '.join(found) or 'none at all'}"
        )
    return {service: found[service]}


def last(logs: dict[str, Path], count: int) -> list[Line]:
    """The last lines of each log."""
    return [
        Line(service, text)
        for service, file in logs.items()
        for text in tail(file, count).splitlines()
    ]


def follow(logs: dict[str, Path], pause: Callable[[float], None] = time.sleep) -> Iterator[Line]:
    """Every line that is written from now on, also after a log was rotated."""
    places = {service: _end(file) for service, file in logs.items()}
    while True:
        for service, file in logs.items():
            inode, offset = places[service]
            now, size = _end(file)
            if now != inode or size < offset:
                offset = 0
            text = _read(file, offset)
            whole, newline, _partial = text.rpartition(b"\n")
            places[service] = (now, offset + len(whole) + len(newline))
            for line in whole.decode(errors="replace").splitlines():
                yield Line(service, line)
        pause(LOOK_EVERY_S)


def _end(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_ino, status.st_size


def _read(file: Path, offset: int) -> bytes:
    try:
        with file.open("rb") as log:
            log.seek(offset)
            return log.read()
    except FileNotFoundError:
        return b""
