"""The real connectors service in a test: over gRPC, with any store."""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from loom.clients.artifacts import ArtifactClient
from loom.connectors.__main__ import open_store, serve
from loom.rpc.callers import digest
from loom.rpc.channel import connect
from loom.settings.connectors import ConnectorsSettings, S3Settings
from loom.testing.database import START_S, token


@dataclass(slots=True)
class RunningConnectors:
    """A connectors service that can be called."""

    target: str
    settings: ConnectorsSettings
    _channels: dict[str, grpc.Channel] = field(default_factory=dict)

    def channel(self, caller: str) -> grpc.Channel:
        """The caller's channel."""
        if caller not in self._channels:
            self._channels[caller] = connect(self.target, token(caller))
        return self._channels[caller]

    def client(self, caller: str, deadline_s: float = 10.0) -> ArtifactClient:
        """The service as a caller sees it."""
        return ArtifactClient(self.channel(caller), deadline_s, transfer_s=60.0)

    def close(self) -> None:
        """Close the channels."""
        for channel in self._channels.values():
            channel.close()


@contextmanager
def running_connectors(
    projects: tuple[str, ...] = (), s3: S3Settings | None = None, **more: Any
) -> Iterator[RunningConnectors]:
    """Serve on a free port, with the agents of these projects as callers.

    s3: the bucket to keep artifacts in, instead of on the disk. more: settings.
    """
    callers = ("control", "operator", *(f"agent-{project}" for project in projects))
    stopping = threading.Event()
    ports: queue.Queue[int] = queue.Queue()
    with tempfile.TemporaryDirectory(prefix="loom-connectors-") as folder:
        tokens = Path(folder) / "tokens"
        tokens.write_text("".join(f"{caller} {digest(token(caller))}\n" for caller in callers))
        settings = ConnectorsSettings(
            listen="127.0.0.1:0",
            tokens_file=tokens,
            folder=Path(folder) / "artifacts",
            store="s3" if s3 else "file",
            **more,
        )
        thread = threading.Thread(
            target=serve, args=(settings, open_store(settings, s3), stopping, ports.put)
        )
        thread.start()
        running = RunningConnectors(f"127.0.0.1:{ports.get(timeout=START_S)}", settings)
        try:
            yield running
        finally:
            running.close()
            stopping.set()
            thread.join(timeout=START_S)
