"""A file as it comes in: written aside, counted and hashed; whole and on disk, or gone."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loom.errors import Exhausted, Invalid, Unavailable

LEFT_OVER_S = 3_600.0
"""A file that nobody wrote to for so long is left over from a process that was killed."""
NAME = "receiving"


class Reception:
    """Takes files in, below a folder."""

    def __init__(self, folder: Path, keep_free_bytes: int) -> None:
        # A name that no project's folder has: it begins with a dot.
        self._folder = folder / f".{NAME}"
        self._keep_free = keep_free_bytes

    def check_room(self, size: int) -> None:
        """Raise Exhausted unless a file of this size leaves the disk its free space."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            raise Unavailable(f"{self._folder} cannot be used: {error}") from error
        if free - size < self._keep_free:
            raise Exhausted(
                f"the disk of {self._folder} has {free} bytes free: {size} more would leave less "
                f"than the {self._keep_free} that LOOM_CONNECTORS_KEEP_FREE_BYTES keeps. Free "
                "some, or lower LOOM_CONNECTORS_KEEP_DAYS",
                free=str(free),
            )

    @contextmanager
    def receive(self, chunks: Iterable[bytes], size: int, sha256: str) -> Iterator[Path]:
        """The file with what came, on disk; removed after the block unless it was moved away.

        Raises Invalid when what came has another size or hash.
        """
        try:
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                path = Path(file.name)
                try:
                    digest, got = hashlib.sha256(), 0
                    for chunk in chunks:
                        got += len(chunk)
                        if got > size:
                            raise Invalid(
                                f"more came than the {size} bytes of the header", field="size"
                            )
                        digest.update(chunk)
                        file.write(chunk)
                    _check(got, size, digest.hexdigest(), sha256)
                    file.flush()
                    os.fsync(file.fileno())
                except BaseException:
                    path.unlink(missing_ok=True)
                    raise
        except OSError as error:
            raise Unavailable(f"{self._folder} takes no file: {error}") from error
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def clear(self) -> int:
        """Remove what killed processes left; how many files."""
        removed = 0
        with suppress(FileNotFoundError):
            for left in self._folder.iterdir():
                with suppress(FileNotFoundError):
                    if left.stat().st_mtime < time.time() - LEFT_OVER_S:
                        left.unlink()
                        removed += 1
        return removed


def _check(got: int, size: int, digest: str, sha256: str) -> None:
    if got != size:
        raise Invalid(f"{got} bytes came, and the header says {size}", field="size")
    if digest != sha256:
        raise Invalid(
            f"what came has the hash {digest}, and the header says {sha256}: was the file changed "
            "while it was read?",
            field="sha256",
        )
