"""What a pool process has of its own, made after the fork: channels, connections, tracing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider

from loom.broker.publisher import Publisher
from loom.clients.artifacts import ArtifactClient
from loom.clients.database import DatabaseClient
from loom.errors import Internal
from loom.settings import (
    AgentSettings,
    BrokerSettings,
    LedgerClientSettings,
    ServiceSettings,
    load,
)
from loom.settings.connectors import ArtifactClientSettings
from loom.telemetry import traces
from workers.agent import Agent, Assignment
from workers.resending import keep_sending
from workers.spool import Spool
from workers.time_limit import Limited, TimeLimit

FLUSH_MS = 2_000
"""How long a pool process that ends may take to send its last spans."""


class Closes(Protocol):
    """What is closed at the end."""

    def close(self) -> None:
        """Hang up."""
        ...


class Child:
    """Opened in each pool process; before the fork it is nothing but settings."""

    def __init__(
        self,
        name: str,
        home: Path,
        *,
        agent: AgentSettings,
        service: ServiceSettings,
        broker: BrokerSettings,
        ledger: LedgerClientSettings,
        let_go: Callable[[str], None],
        limit: TimeLimit,
    ) -> None:
        """let_go: what tells the parent to acknowledge the message of a bead that is worked on.

        limit: the time limits that the parent was told.
        """
        self._name, self._home = name, home
        self._settings, self._service = agent, service
        self._broker, self._ledger = broker, ledger
        self._let_go = let_go
        self._limit = limit
        self._opened: tuple[Agent, tuple[Closes, ...], tuple[Publisher, ...]] | None = None
        self._closing = threading.Event()

    def open(self, **_signal: Any) -> None:
        """Connect what connects by itself when it is first used, and start to trace."""
        service = f"agent-{self._settings.project}"
        traces.configure(service, self._service.instance, self._service.otlp_endpoint)
        CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call]
        client = DatabaseClient.from_settings(self._ledger)
        publisher, resender, teller = (Publisher(self._broker, service) for _ in range(3))
        keeper = ArtifactClient.from_settings(load(ArtifactClientSettings))
        spool = Spool(self._settings.spool or self._home / "spool")
        agent = Agent(
            self._settings,
            self._name,
            self._home,
            ledger=Limited(client, self._limit),
            publisher=publisher,
            spool=spool,
            keeper=keeper,
            log_publisher=teller,
            let_go=self._let_go,
        )
        clients = (client, keeper) if keeper is not None else (client,)
        self._opened = (agent, clients, (publisher, resender, teller))
        # A connection of its own, kept only while something is to be sent.
        threading.Thread(
            target=keep_sending,
            args=(spool, resender, self._closing),
            kwargs={"tell": agent.remember, "idle": resender.close},
            name="spool",
            daemon=True,
        ).start()

    def handle(self, assignment: Assignment) -> None:
        """See an assignment through."""
        if self._opened is None:
            raise Internal("the pool process could not be set up; its log says why")
        self._opened[0].handle(assignment)

    def close(self, **_signal: Any) -> None:
        """Send the last spans, and hang up."""
        self._closing.set()
        if self._opened is not None:
            _agent, clients, publishers = self._opened
            for connection in (*publishers, *clients):
                connection.close()
        provider = trace.get_tracer_provider()
        if isinstance(provider, TracerProvider):
            provider.force_flush(FLUSH_MS)
