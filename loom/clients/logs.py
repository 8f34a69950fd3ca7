"""The calls of the database service about the live logs of attempts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from loom.domain.log import LogChunk, LogPage, LogVerdict
from loom.rpc import logs
from loom.rpc.v1 import logs_pb2 as pb
from loom.rpc.v1 import logs_pb2_grpc


class LogCalls:
    """Calls of the LogService; DatabaseClient has the others."""

    _logs: logs_pb2_grpc.LogServiceStub
    _call: Callable[..., Any]

    def append_logs(self, chunks: Sequence[LogChunk]) -> tuple[LogVerdict, ...]:
        """Keep chunks, each once; what became of each, in their order."""
        answer = self._call(
            self._logs.AppendLogs, pb.AppendLogsRequest(chunks=map(logs.chunk_to_pb, chunks))
        )
        return tuple(map(LogVerdict, answer.verdicts))

    def read_log(
        self, bead_id: str, epoch: int = 0, cursor: str = "", limit: int = 0,
        *, from_now: bool = False,
    ) -> LogPage:  # fmt: skip
        """Lines after a place; of the newest attempt and later ones if epoch is 0.

        Raises NotFound (the bead, the attempt), Invalid (the cursor).
        """
        answer = self._call(
            self._logs.ReadLog,
            pb.ReadLogRequest(
                bead_id=bead_id, epoch=epoch, cursor=cursor, from_now=from_now, limit=limit
            ),
        )
        return logs.page_from_pb(answer)

    def watch_logs(self, known: Mapping[str, str], wait_ms: int = 0) -> Mapping[str, str]:
        """Of beads with the marks of their logs, those that differ; waits for some."""
        answer = self._call(
            self._logs.WatchLogs,
            pb.WatchLogsRequest(
                marks=[pb.LogMark(bead_id=id_, mark=mark) for id_, mark in known.items()],
                wait_ms=wait_ms,
            ),
            wait_ms / 1000,
        )
        return {each.bead_id: each.mark for each in answer.marks}
