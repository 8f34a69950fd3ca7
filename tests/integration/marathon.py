"""A command that runs until it is killed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class Marathon:
    """A test command that tells when it starts, runs until it is killed, and passes after that."""

    def __init__(self, folder: Path, name: str) -> None:
        self._fifo, marker = folder / f"{name}.fifo", folder / f"{name}.ran"
        os.mkfifo(self._fifo)
        script = (
            f"[ -e {marker} ] && exit 0; touch {marker}; exec 9>{self._fifo}; "
            "echo started >&9; sleep 600"
        )
        self.context: dict[str, Any] = {"test_command": ["sh", "-c", script]}

    def __enter__(self) -> Marathon:
        # Opened for writing too, opening does not wait; the end is seen once only others may write.
        self._reader = os.open(self._fifo, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(self._reader, True)
        keeper = os.open(self._fifo, os.O_WRONLY)
        self._keeper = keeper
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._reader)

    def wait_for_start(self) -> None:
        """Return once the command runs."""
        assert os.read(self._reader, 100) == b"started\n"
        os.close(self._keeper)

    def wait_for_end(self) -> None:
        """Return once neither the command nor a child of it is there any more."""
        assert os.read(self._reader, 100) == b""
