"""The process of the readers, from the side of whoever measures."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import IO, Any

from loom.bench.readers import Wish
from loom.errors import Internal

PATIENCE_S = 600.0


class Audience:
    """Readers that are all connected."""

    def __init__(self, says: IO[str], hears: IO[str]) -> None:
        self._says, self._hears = says, hears

    def begin(self) -> None:
        """Have them count."""
        self._tell("begin")

    def end(self) -> dict[str, Any]:
        """Have them leave; what they saw."""
        self._tell("end")
        return dict(json.loads(self._next()))

    def join(self, wish: Wish) -> None:
        """Have them come; returns when all are connected."""
        self._tell(json.dumps(asdict(wish)))
        self._next()

    def _tell(self, line: str) -> None:
        self._hears.write(f"{line}\n")
        self._hears.flush()

    def _next(self) -> str:
        said = self._says.readline()
        if not said:
            raise Internal("the process of the readers ended; its standard error says why")
        return said


@contextmanager
def audience(wish: Wish) -> Iterator[Audience]:
    """Readers as wished for; they are gone when the block ends."""
    command = [sys.executable, "-m", "loom.bench.readers"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        late = threading.Timer(PATIENCE_S, process.kill)
        late.start()
        try:
            if process.stdout is None or process.stdin is None:
                raise Internal("a process without pipes")
            made = Audience(process.stdout, process.stdin)
            made.join(wish)
            yield made
        finally:
            late.cancel()
            process.kill()
