"""The store of artifacts, as agents and the control plane see it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Self, TypeVar

import grpc
import stamina

from loom.clients.breaker import Breaker
from loom.domain.evidence import Artifact
from loom.errors import Exhausted, LoomError, Unavailable
from loom.rpc import status
from loom.rpc.channel import connect
from loom.rpc.v1 import connectors_pb2 as pb
from loom.rpc.v1 import connectors_pb2_grpc
from loom.settings.connectors import ArtifactClientSettings

SERVICE = "the connectors service"
TRIES = 4
"""How often a call is made in all, with backoff and jitter, while it finds nobody."""
PIECE = 64 * 1024
MAX_STAT = 1_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Download:
    """An artifact on its way. size: of the whole. pieces: may raise as the call may."""

    size: int
    pieces: Iterator[bytes]


class ArtifactClient:
    """Calls of the ArtifactService, each with a deadline; any thread may use it.

    Every method may raise Unavailable or DeadlineExceeded, and whatever the service raises. What
    is kept is known by its hash, so every call can be made again, and is while the service is
    away; while it stays away the breaker answers.
    """

    def __init__(
        self, channel: grpc.Channel, deadline_s: float = 5.0, transfer_s: float = 300.0
    ) -> None:
        self.breaker = Breaker(SERVICE)
        self._channel = channel
        self._stub = connectors_pb2_grpc.ArtifactServiceStub(channel)
        self._deadline_s, self._transfer_s = deadline_s, transfer_s

    @classmethod
    def from_settings(cls, settings: ArtifactClientSettings) -> Self | None:
        """A client with a channel of its own, or None where nothing keeps artifacts.

        Make it after a fork.
        """
        if not settings.target:
            return None
        channel = connect(settings.target, settings.token.get_secret_value())
        return cls(channel, settings.deadline_s, settings.transfer_s)

    def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        self._channel.close()

    def present(self, project_id: str, hashes: Sequence[str]) -> frozenset[str]:
        """Which of these are kept, and will be for long enough."""
        found: set[str] = set()
        for start in range(0, len(hashes), MAX_STAT):
            request = pb.StatArtifactsRequest(
                project_id=project_id, sha256=hashes[start : start + MAX_STAT]
            )
            found.update(self._again(partial(self._stat, request), self._deadline_s).present)
        return frozenset(found)

    def _stat(self, request: pb.StatArtifactsRequest, left: float) -> pb.StatArtifactsResponse:
        answer: pb.StatArtifactsResponse = self._stub.StatArtifacts(request, timeout=left)
        return answer

    def put(
        self, project_id: str, bead_id: str, epoch: int, artifact: Artifact, file: BinaryIO,
        *, within_s: float | None = None,
    ) -> bool:  # fmt: skip
        """Keep what the file holds; False if it was kept already. within_s: unless the settings'.

        Raises Invalid when it does not hold what the artifact says, TooLarge over a limit,
        Exhausted without room, OSError when it cannot be read.
        """
        header = pb.ArtifactHeader(
            project_id=project_id,
            bead_id=bead_id,
            epoch=epoch,
            name=artifact.name,
            size=artifact.size,
            sha256=artifact.sha256,
            media_type=artifact.media_type,
        )

        def once(left: float) -> Any:
            sending = _Sending(header, file)
            try:
                return self._stub.PutArtifact(iter(sending), timeout=left)
            except grpc.RpcError:
                if sending.failed is not None:
                    raise sending.failed from None
                raise

        limit = self._transfer_s if within_s is None else min(within_s, self._transfer_s)
        return bool(self._again(once, limit).stored)

    @contextmanager
    def get(
        self, project_id: str, sha256: str, offset: int = 0, length: int = 0
    ) -> Iterator[Download]:
        """The artifact, or length bytes of it (0: all) from offset on. Raises NotFound.

        The transfer ends with the block.
        """
        request = pb.GetArtifactRequest(
            project_id=project_id, sha256=sha256, offset=offset, length=length
        )

        def begin(left: float) -> tuple[Any, int]:
            # The time limit is of the whole transfer, of which this is the beginning.
            stream = self._stub.GetArtifact(request, timeout=max(left, self._transfer_s))
            return stream, next(iter(stream)).size

        stream, size = self._again(begin, self._deadline_s)
        try:
            yield Download(size, _pieces(stream))
        finally:
            # Tracing puts a generator in the call's place, whose end cancels the call.
            stream.close() if hasattr(stream, "close") else stream.cancel()

    def _again(self, call: Callable[[float], T], limit_s: float) -> T:
        give_up_at = time.monotonic() + limit_s

        def once() -> T:
            with _named_errors():
                return call(max(0.001, give_up_at - time.monotonic()))

        for attempt in stamina.retry_context(
            on=_may_pass,
            attempts=TRIES,
            timeout=limit_s,
            wait_initial=0.05,
            wait_max=0.5,
            wait_jitter=0.1,
        ):
            with attempt:
                return self.breaker.call(once)
        raise AssertionError("a retry either returns or raises")


class _Sending:
    """The messages of one PutArtifact. failed: why the file could not be read."""

    def __init__(self, header: pb.ArtifactHeader, file: BinaryIO) -> None:
        self._header, self._file = header, file
        self.failed: OSError | None = None

    def __iter__(self) -> Iterator[pb.PutArtifactRequest]:
        yield pb.PutArtifactRequest(header=self._header)
        try:
            self._file.seek(0)
            while piece := self._file.read(PIECE):
                yield pb.PutArtifactRequest(chunk=piece)
        except OSError as error:
            self.failed = error
            raise


def _pieces(stream: Iterator[pb.GetArtifactResponse]) -> Iterator[bytes]:
    with _named_errors():
        for message in stream:
            yield message.chunk


def _may_pass(error: Exception) -> bool:
    """Whether the service was away or had no room, and is not known to be so for longer."""
    away = isinstance(error, Unavailable) and "breaker" not in error.data
    return away or (isinstance(error, Exhausted) and "free" not in error.data)


@contextmanager
def _named_errors() -> Iterator[None]:
    try:
        yield
    except LoomError:
        raise
    except grpc.RpcError as error:
        raise status.from_call(error, SERVICE) from error
