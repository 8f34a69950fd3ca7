"""What the ledger's journal and tables say, read as an operator: to be compared, not believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import grpc

from loom.clients.database import SERVICE
from loom.rpc import status
from loom.rpc.channel import connect
from loom.rpc.v1 import database_pb2 as pb
from loom.rpc.v1 import database_pb2_grpc
from loom.settings import LedgerClientSettings

DEADLINE_S = 10.0
PROGRESS = "drill-progress-"
"""How what the drill itself reports as an agent's progress begins."""


@dataclass(frozen=True, slots=True)
class Tables:
    """What the ledger says of itself.

    closed: beads whose closing stands in the journal, and how often. said: (bead, what it said) of
    every progress that the drill reported, and how often. letters: (message id, queue) and how
    often it was recorded.
    """

    closed: dict[str, int]
    said: dict[tuple[str, str], int]
    letters: dict[tuple[str, str], int]
    owed: int
    running: int


class Ledger:
    """The database service's ExecuteQuery."""

    def __init__(self, settings: LedgerClientSettings) -> None:
        self._channel = connect(settings.target, settings.token.get_secret_value())
        self._stub = database_pb2_grpc.DatabaseServiceStub(self._channel)

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def read(self, project_id: str) -> Tables:
        """All of it; raises Unavailable or DeadlineExceeded."""
        closed = self._pages(
            "SELECT bead_id, count(*) FROM event WHERE type = 'bead.closed' AND project_id = %s "
            "GROUP BY bead_id ORDER BY bead_id",
            project_id,
        )
        said = self._pages(
            "SELECT bead_id, data->>'output', count(*) FROM event WHERE type = 'attempt.progress' "
            "AND project_id = %s AND data->>'output' LIKE %s GROUP BY 1, 2 ORDER BY 1, 2",
            project_id,
            f"{PROGRESS}%",
        )
        letters = self._pages(
            "SELECT message_id, queue, count(*) FROM dead_letter GROUP BY 1, 2 ORDER BY 1, 2"
        )
        ((owed, running),) = self.ask(
            "SELECT (SELECT count(*) FROM outbox), "
            "(SELECT count(*) FROM attempt WHERE outcome = 'running')"
        )
        return Tables(
            closed=dict(closed),
            said={(bead, words): times for bead, words, times in said},
            letters={(message, queue): times for message, queue, times in letters},
            owed=owed,
            running=running,
        )

    def _pages(self, sql: str, *parameters: str, size: int = 500) -> list[list[Any]]:
        rows: list[list[Any]] = []
        while True:
            page = self.ask(f"{sql} LIMIT {size} OFFSET {len(rows)}", *parameters)
            rows += page
            if len(page) < size:
                return rows

    def ask(self, sql: str, *parameters: str) -> list[list[Any]]:
        """The rows of one query; raises Unavailable or DeadlineExceeded."""
        request = pb.ExecuteQueryRequest(
            sql=sql, parameters=[pb.Value(text=value) for value in parameters]
        )
        try:
            answer = self._stub.ExecuteQuery(request, timeout=DEADLINE_S)
        except grpc.RpcError as error:
            raise status.from_call(error, SERVICE) from error
        return [[_value(value) for value in row.values] for row in answer.rows]


def _value(value: pb.Value) -> Any:
    kind = value.WhichOneof("kind")
    return None if kind in (None, "null") else getattr(value, kind)
