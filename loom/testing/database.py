"""The real database service in a test: over gRPC, PgBouncer and PostgreSQL."""

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
from grpc_health.v1 import health_pb2, health_pb2_grpc

from loom.clients.database import DatabaseClient
from loom.database.__main__ import serve
from loom.rpc.callers import digest
from loom.rpc.channel import connect
from loom.rpc.v1 import database_pb2_grpc
from loom.settings import LedgerSettings

CALLERS = ("control", "dispatcher", "ingester", "engine", "connectors", "operator")
START_S = 30.0


def token(caller: str) -> str:
    """The token of a caller in tests."""
    return f"token-of-{caller}"


@dataclass(slots=True)
class RunningDatabase:
    """A database service that answers."""

    target: str
    settings: LedgerSettings
    _channels: dict[str, grpc.Channel] = field(default_factory=dict)

    def channel(self, caller: str) -> grpc.Channel:
        """The caller's channel."""
        if caller not in self._channels:
            self._channels[caller] = connect(self.target, token(caller))
        return self._channels[caller]

    def client(self, caller: str, deadline_s: float = 10.0) -> DatabaseClient:
        """The service as a caller sees it."""
        return DatabaseClient(self.channel(caller), deadline_s)

    def stub(self, caller: str) -> database_pb2_grpc.DatabaseServiceStub:
        """The bare contract, as a caller."""
        return database_pb2_grpc.DatabaseServiceStub(self.channel(caller))

    def wait_until(self, *, serving: bool, timeout_s: float = START_S) -> None:
        """Wait until health says so, as it tells its watchers. Raises grpc.RpcError."""
        wanted = health_pb2.HealthCheckResponse.ServingStatus.Value(
            "SERVING" if serving else "NOT_SERVING"
        )
        with grpc.insecure_channel(self.target) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            watch = stub.Watch(
                health_pb2.HealthCheckRequest(), timeout=timeout_s, wait_for_ready=True
            )
            for answer in watch:
                if answer.status == wanted:
                    watch.cancel()
                    return

    def close(self) -> None:
        """Close the channels."""
        for channel in self._channels.values():
            channel.close()


@contextmanager
def running_database(
    settings: LedgerSettings, projects: tuple[str, ...] = (), *, wait: bool = True
) -> Iterator[RunningDatabase]:
    """Serve a database on a free port, with the agents of these projects as callers.

    wait: until it serves, for which the database has to be migrated.
    """
    callers = (*CALLERS, *(f"agent-{project}" for project in projects))
    stopping = threading.Event()
    ports: queue.Queue[int] = queue.Queue()
    with tempfile.TemporaryDirectory(prefix="loom-database-") as folder:
        tokens = Path(folder) / "tokens"
        tokens.write_text("".join(f"{caller} {digest(token(caller))}\n" for caller in callers))
        own = settings.model_copy(update={"listen": "127.0.0.1:0", "tokens_file": str(tokens)})
        thread = threading.Thread(target=serve, args=(own, stopping, ports.put), daemon=True)
        thread.start()
        running = RunningDatabase(f"127.0.0.1:{ports.get(timeout=START_S)}", own)
        try:
            if wait:
                running.wait_until(serving=True)
            yield running
        finally:
            running.close()
            stopping.set()
            thread.join(timeout=START_S)
