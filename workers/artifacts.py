"""Keeps the files that an attempt leaves; what cannot be kept is told, and ends nothing."""

from __future__ import annotations

import hashlib
import mimetypes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from loom.domain.evidence import Artifact
from loom.errors import DeadlineExceeded, Exhausted, LoomError, Unavailable
from loom.telemetry import logs, traces
from workers import beneath
from workers.mask import NOTHING, Mask, Masked

PIECE = 256 * 1024
MAX_NAME = 500
MAX_NOTES = 20
_TYPES = mimetypes.MimeTypes()

log = logs.get(__name__)


class Keeper(Protocol):
    """What of loom.clients.artifacts.ArtifactClient is needed."""

    def present(self, project_id: str, hashes: Sequence[str]) -> frozenset[str]:
        """Which of these are kept."""
        ...

    def put(
        self, project_id: str, bead_id: str, epoch: int, artifact: Artifact, file: BinaryIO,
        *, within_s: float | None = None,
    ) -> bool:  # fmt: skip
        """Keep what the file holds."""
        ...


@dataclass(frozen=True, slots=True)
class Given:
    """A file of Loom's own making, such as a step's log. name: what the artifact is called."""

    name: str
    path: Path
    media_type: str = "text/plain"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one attempt may keep, and how long it may take.

    within_s: seconds for all of it. away_s: seconds to wait for a store that does not answer.
    """

    files: int = 500
    file_bytes: int = 256 * 1024**2
    total_bytes: int = 1024**3
    within_s: float = 300.0
    away_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Collected:
    """The artifacts that are kept, and what could not be, in words for a person."""

    artifacts: tuple[Artifact, ...] = ()
    notes: tuple[str, ...] = ()


def collect(
    keeper: Keeper | None,
    attempt: tuple[str, str, int],
    *,
    checkout: Path,
    patterns: Sequence[str] = (),
    given: Sequence[Given] = (),
    bounds: Bounds = Bounds(),
    check: Callable[[], None] = lambda: None,
    wait: Callable[[float], None] = time.sleep,
    mask: Mask = NOTHING,
) -> Collected:
    """Keep the given files and those of the checkout that match, once no command writes any more.

    keeper: None where nothing keeps artifacts. attempt: project, bead, epoch. check: called
    between files, and may raise, which is all that this raises. mask: what no artifact may hold.
    """
    work = _Collection(keeper, attempt, checkout, bounds, check, wait, mask)
    with traces.span("artifacts"):
        work.gather(given, patterns)
        work.send()
    if work.notes:
        log.warning("artifacts_not_kept", notes=work.notes[:MAX_NOTES], count=len(work.notes))
    return Collected(tuple(work.kept), tuple(_shortened(work.notes)))


@dataclass(frozen=True, slots=True)
class _Source:
    """Where an artifact's content is."""

    artifact: Artifact
    folder: Path
    name: str


@dataclass(slots=True)
class _Collection:
    keeper: Keeper | None
    attempt: tuple[str, str, int]
    checkout: Path
    bounds: Bounds
    check: Callable[[], None]
    wait: Callable[[float], None]
    mask: Mask
    sources: dict[str, _Source] = field(default_factory=dict)
    kept: list[Artifact] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    total: int = 0

    def gather(self, given: Sequence[Given], patterns: Sequence[str]) -> None:
        """Find, hash and count what is to be kept."""
        for one in given:
            self._hash(one.name, one.path.parent, one.path.name, one.media_type)
        if not patterns:
            return
        found = beneath.find(self.checkout, patterns)
        self.notes += [f"artifacts: no file matches {pattern!r}" for pattern in found.unmatched]
        if not found.complete:
            self.notes.append("artifacts: the checkout is too large or closed to be searched whole")
        for name in found.names:
            if not _fit(name):
                self.notes.append(f"artifacts: the name {name[:100]!a} cannot be kept")
            elif name in self.sources:
                self.notes.append(f"{name}: not kept, as Loom's own log has this name")
            else:
                self._hash(name, self.checkout, name, _media_type(name))

    def _hash(self, artifact: str, folder: Path, name: str, media_type: str) -> None:
        self.check()
        if len(self.sources) >= self.bounds.files:
            self.notes.append(f"{artifact}: not kept, as {self.bounds.files} files are the limit")
            return
        room = min(self.bounds.file_bytes, self.bounds.total_bytes - self.total)
        try:
            with beneath.opened(folder, name) as file:
                digest, size, masked = hashlib.sha256(), 0, Masked(self.mask)
                while size <= room and (piece := file.read(PIECE)):
                    digest.update(piece)
                    masked.feed(piece)
                    size += len(piece)
        except OSError as error:
            self.notes.append(f"{artifact}: not kept, as it cannot be read: {_words(error)}")
            return
        if size > room:
            limit = "of one file" if room == self.bounds.file_bytes else "of all together"
            self.notes.append(
                f"{artifact}: not kept, as it is larger than the limit {limit}, {room} bytes"
            )
            return
        masked.finish()
        if masked.found:
            self.notes.append(
                f"{artifact}: not kept, as it holds a credential that this project's agents were "
                "given"
            )
            return
        self.total += size
        found = Artifact(artifact, digest.hexdigest(), size, media_type)
        self.sources[artifact] = _Source(found, folder, name)

    def send(self) -> None:
        """Keep what was gathered, in its order, what is there already without sending it."""
        waiting = list(self.sources.values())
        if not waiting:
            return
        if self.keeper is None:
            self._missing(waiting, "nothing keeps artifacts here (LOOM_ARTIFACTS_TARGET)")
            return
        give_up_at = time.monotonic() + self.bounds.within_s
        away = _Patience(self.bounds.away_s, give_up_at, self.wait)
        present: frozenset[str] | None = None
        while waiting:
            self.check()
            left = give_up_at - time.monotonic()
            if left <= 0:
                self._missing(waiting, f"sending took longer than {self.bounds.within_s:g} s")
                return
            try:
                if present is None:
                    hashes = sorted({source.artifact.sha256 for source in waiting})
                    present = self.keeper.present(self.attempt[0], hashes)
                self._send_one(self.keeper, waiting[0], present, left)
            except (Unavailable, DeadlineExceeded) as error:
                if not away.wait():
                    self._missing(waiting, f"the store is away: {error.detail}")
                    return
            except LoomError as error:
                if present is None or isinstance(error, Exhausted):
                    self._missing(waiting, error.detail)
                    return
                self._missing(waiting[:1], error.detail)
                waiting.pop(0)
            else:
                away.begin_anew()
                waiting.pop(0)

    def _send_one(
        self, keeper: Keeper, source: _Source, present: frozenset[str], left: float
    ) -> None:
        artifact = source.artifact
        if artifact.sha256 not in present:
            try:
                with beneath.opened(source.folder, source.name) as file:
                    keeper.put(*self.attempt, artifact, file, within_s=left)
            except OSError as error:
                self._missing([source], f"it cannot be read: {_words(error)}")
                return
        self.kept.append(artifact)

    def _missing(self, sources: Sequence[_Source], why: str) -> None:
        self.notes += [f"{source.artifact.name}: not kept: {why}" for source in sources]


class _Patience:
    """Waits for a store that is away, longer each time, up to a limit."""

    def __init__(self, limit_s: float, until: float, wait: Callable[[float], None]) -> None:
        self._limit_s, self._until, self._wait = limit_s, until, wait
        self.begin_anew()

    def begin_anew(self) -> None:
        self._waited, self._next = 0.0, 0.25

    def wait(self) -> bool:
        """Wait; False when that was done for long enough."""
        step = min(self._next, self._until - time.monotonic())
        if step <= 0 or self._waited + step > self._limit_s:
            return False
        self._wait(step)
        self._waited += step
        self._next = min(2.0, self._next * 2)
        return True


def _fit(name: str) -> bool:
    """Whether the name can stand in messages, logs and addresses."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return len(name) <= MAX_NAME and name.isprintable()


def _media_type(name: str) -> str:
    kind, packed = _TYPES.guess_type(name)
    return kind if kind and not packed else "application/octet-stream"


def _words(error: OSError) -> str:
    return error.strerror or str(error)


def _shortened(notes: Sequence[str]) -> list[str]:
    if len(notes) <= MAX_NOTES:
        return list(notes)
    return [*notes[:MAX_NOTES], f"and {len(notes) - MAX_NOTES} more of the kind"]
