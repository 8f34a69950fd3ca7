"""The routes of artifacts: what attempts left, listed and sent."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Annotated, Protocol
from unicodedata import normalize
from urllib.parse import quote

from flask import Blueprint, Response, g, json, jsonify, request
from pydantic import BaseModel, ConfigDict, Field

from loom.clients.artifacts import Download
from loom.clients.downloads import Kept, kept_by, kept_to_json
from loom.control import problem
from loom.control.answers.evidence import ArtifactsOut
from loom.control.answers.problems import ProblemOut
from loom.control.beads import known_bead
from loom.control.ledger import Ledger
from loom.control.operation import Content, Within, operation
from loom.control.requests.reading import read_query
from loom.errors import Exhausted, Internal, Invalid, LoomError, NotFound, Unavailable
from loom.telemetry import logs

AT_ONCE = 8
"""Downloads that may run at once, so that other requests find a thread."""
SHOWN = frozenset(
    {"text/plain", "text/csv", "application/json", "application/pdf", "image/png", "image/jpeg"}
)
"""Types that are told as they are; any other text is plain, and the rest is bytes."""
_UNQUOTED = {ord(char): "_" for char in '"\\%;'} | dict.fromkeys(range(32))
"""What becomes of characters that mean something within a quoted file name."""

log = logs.get(__name__)


class Artifacts(Protocol):
    """What the API needs of loom.clients.artifacts.ArtifactClient."""

    def get(
        self, project_id: str, sha256: str, offset: int = 0, length: int = 0
    ) -> AbstractContextManager[Download]:
        """The artifact, or length bytes of it (0: all) from offset on."""
        ...


class NoArtifacts:
    """Where no store was named."""

    @contextmanager
    def get(
        self, project_id: str, sha256: str, offset: int = 0, length: int = 0
    ) -> Iterator[Download]:
        """Raise Unavailable."""
        raise Unavailable("this control plane knows no store of artifacts (LOOM_ARTIFACTS_TARGET)")
        yield


class ArtifactQuery(BaseModel):
    """The query of a list. attempt: of this one alone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attempt: Annotated[int, Field(ge=1, lt=2**31)] | None = None


def routes(ledger: Ledger, artifacts: Artifacts) -> Blueprint:
    """List what attempts at a bead left, and send it."""
    blueprint = Blueprint("artifacts", __name__)
    running = threading.BoundedSemaphore(AT_ONCE)

    @blueprint.get("/beads/<bead_id>/artifacts")
    @operation(
        "List what attempts at a bead left", within=Within.BEAD, query=ArtifactQuery,
        answers={200: ArtifactsOut},
    )  # fmt: skip
    def list_of_bead(bead_id: str) -> Response:
        wanted = read_query(ArtifactQuery, request.args.to_dict(flat=False)).attempt
        attempts = ledger.list_attempts(known_bead(bead_id))
        found = [
            kept_to_json(kept)
            for attempt in attempts
            if wanted in (None, attempt.epoch)
            for kept in kept_by(attempt)
        ]
        return jsonify({"artifacts": found})

    @blueprint.get("/beads/<bead_id>/attempts/<int:epoch>/artifacts/<path:name>")
    @operation(
        "Download an artifact, or a range of it", within=Within.BEAD,
        answers={200: Content("*/*"), 206: Content("*/*"), 304: None, 416: ProblemOut},
    )  # fmt: skip
    def content(bead_id: str, epoch: int, name: str) -> Response:
        kept = _find(ledger, known_bead(bead_id), epoch, name)
        if request.if_none_match.contains(kept.artifact.sha256):
            return _described(Response(status=304), kept)
        size = kept.artifact.size
        part = _part(size, kept.artifact.sha256)
        if part is None:
            return _beyond(size)
        start, stop = part
        response = Response(status=200 if (start, stop) == (0, size) else 206)
        if request.method != "HEAD" and stop > start:
            project_id = ledger.get_bead(bead_id).project_id
            with ExitStack() as opening:
                if not running.acquire(blocking=False):
                    raise Exhausted(f"{AT_ONCE} downloads run already: try again in a second")
                opening.callback(running.release)
                download = opening.enter_context(
                    artifacts.get(project_id, kept.artifact.sha256, start, stop - start)
                )
                # From here on the response closes it, sent or not.
                ending = opening.pop_all()
            response.response = _told(download.pieces, kept, stop - start)
            response.call_on_close(ending.close)
        if response.status_code == 206:
            response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        response.headers["Content-Length"] = str(stop - start)
        return _described(response, kept)

    return blueprint


def _find(ledger: Ledger, bead_id: str, epoch: int, name: str) -> Kept:
    attempts = ledger.list_attempts(bead_id)
    for attempt in attempts:
        if attempt.epoch == epoch:
            for kept in kept_by(attempt):
                if kept.artifact.name == name:
                    return kept
    raise NotFound(f"attempt {epoch} at {bead_id} left no artifact {name[:200]!r}")


def _part(size: int, etag: str) -> tuple[int, int] | None:
    """The bytes that are asked for, from and up to; None if there are none of these.

    More than one range, and one of another content, is answered by the whole, as HTTP allows.
    """
    wanted = request.range
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1:
        return 0, size
    if "If-Range" in request.headers and request.if_range.etag != etag:
        return 0, size
    return wanted.range_for_length(size)


def _beyond(size: int) -> Response:
    error = Invalid(f"the artifact has {size} bytes, and the Range lies beyond them")
    document = problem.document(error, error.code, request.path, g.get("correlation_id", ""))
    response = Response(json.dumps(document | {"status": 416}), 416, mimetype=problem.MIME)
    response.headers["Content-Range"] = f"bytes */{size}"
    return response


def _told(pieces: Iterator[bytes], kept: Kept, length: int) -> Iterator[bytes]:
    """The pieces; a transfer that breaks off is logged, and the connection ends short."""
    try:
        for piece in pieces:
            length -= len(piece)
            yield piece
        if length > 0:
            # Without an error the connection would stay open, and the caller wait for the rest.
            raise Internal(f"the store ended {length} bytes too early")
    except LoomError as error:
        log.warning(
            "download_broken_off",
            bead_id=kept.bead_id,
            name=kept.artifact.name,
            code=error.code,
            why=error.detail,
        )
        raise


def _described(response: Response, kept: Kept) -> Response:
    """Say what it is, so that no browser takes what an agent left for a page of Loom's."""
    name = kept.artifact.name.rpartition("/")[2]
    plain = normalize("NFKD", name).encode("ascii", "ignore").decode().translate(_UNQUOTED)
    headers = response.headers
    headers["Content-Type"] = _content_type(kept.artifact.media_type)
    headers["Content-Disposition"] = (
        f"attachment; filename=\"{plain or 'artifact'}\"; filename*=UTF-8''{quote(name, safe='')}"
    )
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    headers["Cache-Control"] = "private, no-cache"
    headers["Accept-Ranges"] = "bytes"
    response.set_etag(kept.artifact.sha256)
    return response


def _content_type(media_type: str) -> str:
    kind = media_type.partition(";")[0].strip().lower()
    if kind.startswith("text/") and kind not in SHOWN:
        kind = "text/plain"
    if kind not in SHOWN:
        return "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
