"""The ArtifactService over gRPC: who may keep and read what, and how much of it."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc

from loom.connectors.filestore import HASH
from loom.connectors.receiving import Reception
from loom.connectors.store import Held, Store, missing
from loom.domain.identity import check_bead_id, check_project_id
from loom.errors import BadRequest, Exhausted, Forbidden, Invalid, TooLarge
from loom.rpc.callers import agent_project
from loom.rpc.server import caller
from loom.rpc.v1 import connectors_pb2 as pb
from loom.rpc.v1 import connectors_pb2_grpc
from loom.settings.connectors import ConnectorsSettings
from loom.telemetry import logs

NAME = "loom.v1.ArtifactService"
MAX_CHUNK = 1024 * 1024
MAX_STAT = 1_000
ATTEMPTS_REMEMBERED = 10_000

log = logs.get(__name__)


class Allowance:
    """How much each attempt has sent, and how many transfers of a project run now.

    Kept in memory, of the attempts that sent something last: a restart begins anew.
    """

    def __init__(self, max_attempt_bytes: int, calls_per_project: int) -> None:
        self._max_bytes, self._max_calls = max_attempt_bytes, calls_per_project
        self._lock = threading.Lock()
        self._sent: OrderedDict[tuple[str, str, int], int] = OrderedDict()
        self._running: Counter[str] = Counter()

    @contextmanager
    def transfer(self, project_id: str) -> Iterator[None]:
        """One transfer of the project's; raises Exhausted if too many of them run."""
        with self._lock:
            if self._running[project_id] >= self._max_calls:
                raise Exhausted(
                    f"{self._max_calls} transfers of {project_id} run already: try again when one "
                    "has ended"
                )
            self._running[project_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._running[project_id] -= 1
                self._running += Counter()  # forgets those at zero

    @contextmanager
    def spend(self, attempt: tuple[str, str, int], size: int) -> Iterator[None]:
        """Count what the attempt sends, unless it does not arrive; raises TooLarge."""
        with self._lock:
            sent = self._sent.pop(attempt, 0)
            self._sent[attempt] = sent
            if sent + size > self._max_bytes:
                raise TooLarge(
                    f"the attempt has sent {sent} bytes of artifacts: {size} more would pass the "
                    f"limit of {self._max_bytes} (LOOM_CONNECTORS_MAX_ATTEMPT_BYTES)"
                )
            self._sent[attempt] += size
            while len(self._sent) > ATTEMPTS_REMEMBERED:
                self._sent.popitem(last=False)
        try:
            yield
        except BaseException:
            with self._lock:
                if attempt in self._sent:
                    self._sent[attempt] -= size
            raise


class ArtifactService(connectors_pb2_grpc.ArtifactServiceServicer):
    """Every call of the contract; errors are raised as Loom's own."""

    def __init__(
        self,
        settings: ConnectorsSettings,
        store: Store,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings, self._store, self._now = settings, store, now
        self._reception = Reception(Path(settings.folder), settings.keep_free_bytes)
        self._allowance = Allowance(settings.max_attempt_bytes, settings.calls_per_project)

    def PutArtifact(
        self, request_iterator: Iterator[pb.PutArtifactRequest], context: grpc.ServicerContext
    ) -> pb.PutArtifactResponse:
        header = _header(request_iterator)
        project_id = _own_project(header.project_id)
        _check(header)
        if header.size > self._settings.max_artifact_bytes:
            raise TooLarge(
                f"{header.name!r} has {header.size} bytes; the limit of one artifact is "
                f"{self._settings.max_artifact_bytes} (LOOM_CONNECTORS_MAX_ARTIFACT_BYTES)"
            )
        found = self._store.find(project_id, header.sha256)
        if found is not None and found.size == header.size and self._young(found):
            return pb.PutArtifactResponse(stored=False)
        attempt = (project_id, header.bead_id, header.epoch)
        with (
            self._allowance.transfer(project_id),
            self._allowance.spend(attempt, header.size),
        ):
            self._reception.check_room(header.size)
            chunks = _chunks(request_iterator)
            with self._reception.receive(chunks, header.size, header.sha256) as received:
                self._store.keep(project_id, header.sha256, received)
        log.info(
            "artifact_kept",
            project_id=project_id,
            bead_id=header.bead_id,
            epoch=header.epoch,
            name=header.name,
            size=header.size,
            sha256=header.sha256,
        )
        return pb.PutArtifactResponse(stored=True)

    def GetArtifact(
        self, request: pb.GetArtifactRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.GetArtifactResponse]:
        project_id, sha256 = _own_project(request.project_id), _hash(request.sha256)
        if request.offset < 0 or request.length < 0:
            raise Invalid("offset and length are 0 or more", field="offset")
        found = self._store.find(project_id, sha256)
        if found is None:
            raise missing(project_id, sha256)
        yield pb.GetArtifactResponse(size=found.size)
        rest = max(0, found.size - request.offset)
        length = min(rest, request.length or rest)
        for piece in self._store.read(project_id, sha256, request.offset, length):
            yield pb.GetArtifactResponse(chunk=piece)

    def StatArtifacts(
        self, request: pb.StatArtifactsRequest, context: grpc.ServicerContext
    ) -> pb.StatArtifactsResponse:
        project_id = _own_project(request.project_id)
        if len(request.sha256) > MAX_STAT:
            raise Invalid(f"at most {MAX_STAT} hashes can be asked for at once", field="sha256")
        found = (self._store.find(project_id, _hash(one)) for one in request.sha256)
        return pb.StatArtifactsResponse(
            present=[held.sha256 for held in found if held is not None and self._young(held)]
        )

    def _young(self, held: Held) -> bool:
        """Whether it is in the first half of its life: past that it is sent again, and lives on."""
        days = self._settings.keep_days
        return not days or self._now() - held.kept_at < timedelta(days=days / 2)


def _header(requests: Iterator[pb.PutArtifactRequest]) -> pb.ArtifactHeader:
    first = next(requests, None)
    if first is None or first.WhichOneof("part") != "header":
        raise BadRequest("the first message of PutArtifact has to be the header")
    return first.header


def _chunks(requests: Iterator[pb.PutArtifactRequest]) -> Iterator[bytes]:
    for request in requests:
        if request.WhichOneof("part") != "chunk":
            raise BadRequest("only the first message of PutArtifact may be a header")
        if len(request.chunk) > MAX_CHUNK:
            raise Invalid(f"a chunk is at most {MAX_CHUNK} bytes", field="chunk")
        yield request.chunk


def _check(header: pb.ArtifactHeader) -> None:
    check_bead_id(header.bead_id)
    _hash(header.sha256)
    if header.size < 0 or header.epoch < 1:
        raise Invalid("size is 0 or more, and epoch 1 or more", field="size")


def _hash(sha256: str) -> str:
    if not HASH.fullmatch(sha256):
        raise Invalid(f"{sha256[:80]!r} is no SHA-256 in hex, in small letters", field="sha256")
    return sha256


def _own_project(project_id: str) -> str:
    """The project, which is a slug and so safe in a path; raises Forbidden if it is another's."""
    check_project_id(project_id)
    own = agent_project(caller.get())
    if own and own != project_id:
        raise Forbidden(f"{caller.get()} may use the artifacts of {own} alone", caller=caller.get())
    return project_id
