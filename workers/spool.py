"""Results that the broker has not confirmed yet: one file each, on disk before anything is lost.

A file is written whole (temporary name, fsync, rename, fsync of the folder) and removed only after
the confirm. Whoever sends one holds its lock, so that two processes of an agent do not send it at
once; if they did, it would carry the same message id, and the ledger counts it once.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loom.errors import Invalid
from loom.messaging.envelope import Envelope

SUFFIX, UNREADABLE = ".result", ".unreadable"
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


@dataclass(frozen=True, slots=True)
class Spooled:
    """One result on disk, locked."""

    path: Path
    envelope: Envelope


class Spool:
    """The folder of an agent's unconfirmed results; no command of a bead may write there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, bead_id: str, epoch: int, envelope: Envelope) -> None:
        """Have the result on disk when this returns; raises OSError when that cannot be."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path(bead_id, epoch)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with os.fdopen(os.open(draft, _WRITE, 0o600), "wb") as file:
                file.write(to_bytes(envelope))
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        self._sync()

    def waiting(self) -> list[Path]:
        """The files that are still to be sent, oldest first."""
        with suppress(OSError):
            return sorted(self._folder.glob(f"*{SUFFIX}"), key=_age)
        return []

    def find(self, bead_id: str, epoch: int) -> Path | None:
        """The result of this or a later epoch of the bead, if one is waiting."""
        for path in self.waiting():
            bead, of = named(path)
            if bead == bead_id and of >= epoch:
                return path
        return None

    @contextmanager
    def taken(self, path: Path) -> Iterator[Spooled | None]:
        """The result, locked until the end of the block; None if another has it, or it is gone.

        One that cannot be read is put aside under another name; raises Invalid then.
        """
        try:
            file = path.open("rb")
        except OSError:
            yield None
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield None
                return
            if not path.exists():
                yield None
                return
            try:
                envelope = from_bytes(file.read())
            except (ValueError, KeyError, TypeError) as error:
                aside = path.with_suffix(UNREADABLE)
                path.rename(aside)
                raise Invalid(f"the spooled result {aside} cannot be read: {error}") from error
            yield Spooled(path, envelope)

    def remove(self, bead_id: str, epoch: int) -> None:
        """The result is confirmed, or will never count."""
        self.discard(self._path(bead_id, epoch))

    def discard(self, path: Path) -> None:
        """Remove one file."""
        with suppress(OSError):
            path.unlink()
            self._sync()

    def _path(self, bead_id: str, epoch: int) -> Path:
        return self._folder / f"{bead_id}@{epoch}{SUFFIX}"

    def _sync(self) -> None:
        """Have the folder's own entries on disk."""
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def named(path: Path) -> tuple[str, int]:
    """The bead and the epoch whose result a file holds."""
    bead_id, _, epoch = path.name.removesuffix(SUFFIX).rpartition("@")
    return bead_id, int(epoch) if epoch.isdecimal() else 0


def to_bytes(envelope: Envelope) -> bytes:
    """An envelope as JSON; its body is JSON itself, and so UTF-8."""
    fields: dict[str, Any] = asdict(envelope) | {"body": envelope.body.decode()}
    return json.dumps(fields | {"headers": dict(envelope.headers)}).encode()


def from_bytes(text: bytes) -> Envelope:
    """The envelope; raises ValueError, KeyError or TypeError for what is none."""
    fields = json.loads(text)
    return Envelope(**(fields | {"body": fields["body"].encode()}))


def _age(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0
