"""The store `file`: `<folder>/<project>/<first two of the hash>/<hash>` on a local disk."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from loom.connectors.store import PIECE, Held, missing
from loom.errors import Unavailable

HASH = re.compile(r"[0-9a-f]{64}")


class FileStore:
    """Keeps artifacts below a folder of its own, each put there in one step."""

    def __init__(self, folder: Path) -> None:
        """folder: on one file system with what is received."""
        self._folder = folder

    def check(self) -> None:
        """Raise Unavailable while the folder cannot be written."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"{self._folder} cannot be made: {error}") from error
        if not os.access(self._folder, os.R_OK | os.W_OK | os.X_OK):
            raise Unavailable(f"{self._folder} cannot be written: look at its owner and mode")

    def find(self, project_id: str, sha256: str) -> Held | None:
        """What there is of the artifact."""
        try:
            found = self._place(project_id, sha256).stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._away(error) from error
        return Held(project_id, sha256, found.st_size, _moment(found.st_mtime))

    def keep(self, project_id: str, sha256: str, received: Path) -> None:
        """Move the file to its place; a crash leaves it there whole, or not at all."""
        place = self._place(project_id, sha256)
        try:
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            received.replace(place)
            for folder in (place.parent, place.parent.parent, self._folder):
                _sync_folder(folder)
        except OSError as error:
            raise self._away(error) from error

    def read(self, project_id: str, sha256: str, offset: int, length: int) -> Iterator[bytes]:
        """Those bytes of the artifact, in pieces."""
        try:
            with self._place(project_id, sha256).open("rb") as file:
                file.seek(offset)
                while length > 0 and (piece := file.read(min(PIECE, length))):
                    length -= len(piece)
                    yield piece
        except FileNotFoundError as error:
            raise missing(project_id, sha256) from error
        except OSError as error:
            raise self._away(error) from error

    def list(self) -> Iterator[Held]:
        """Every artifact."""
        for place in self._folder.glob("[a-z0-9]*/??/*"):
            if HASH.fullmatch(place.name) and (
                held := self.find(place.parent.parent.name, place.name)
            ):
                yield held

    def remove(self, found: Sequence[Held]) -> int:
        """Remove those that were not kept anew."""
        removed = 0
        for held in found:
            now = self.find(held.project_id, held.sha256)
            if now is not None and now.kept_at <= held.kept_at:
                with suppress(FileNotFoundError):
                    self._place(held.project_id, held.sha256).unlink()
                    removed += 1
        return removed

    def _place(self, project_id: str, sha256: str) -> Path:
        return self._folder / project_id / sha256[:2] / sha256

    def _away(self, error: OSError) -> Unavailable:
        return Unavailable(f"the store at {self._folder} fails: {error}", service="artifacts")


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
