"""Artifacts as the HTTP API shows them, and the calls that fetch them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import quote

import httpx

from loom.clients.representation import bead_path
from loom.domain.bead import Attempt
from loom.domain.evidence import Artifact
from loom.errors import Internal, NotFound


@dataclass(frozen=True, slots=True)
class Kept:
    """An artifact, and the attempt that left it."""

    bead_id: str
    epoch: int
    artifact: Artifact


def kept_by(attempt: Attempt) -> Iterator[Kept]:
    """What the attempt left, its steps' logs included, each name once."""
    logs = (step.log for step in attempt.steps if step.log is not None)
    named = {artifact.name: artifact for artifact in (*logs, *attempt.artifacts)}
    return (Kept(attempt.bead_id, attempt.epoch, artifact) for artifact in named.values())


def artifact_path(kept: Kept) -> str:
    """Where its content is."""
    name = quote(kept.artifact.name, safe="/")
    return f"{bead_path(kept.bead_id)}/attempts/{kept.epoch}/artifacts/{name}"


def kept_to_json(kept: Kept) -> dict[str, Any]:
    """One artifact."""
    return {
        "name": kept.artifact.name,
        "bead_id": kept.bead_id,
        "attempt": kept.epoch,
        "size": kept.artifact.size,
        "sha256": kept.artifact.sha256,
        "media_type": kept.artifact.media_type,
        "links": {"content": artifact_path(kept)},
    }


def kept_from_json(document: Mapping[str, Any]) -> Kept:
    """One artifact."""
    artifact = Artifact(
        document["name"], document["sha256"], document["size"], document["media_type"]
    )
    return Kept(document["bead_id"], document["attempt"], artifact)


class DownloadCalls:
    """Calls on artifacts; ControlClient has the others."""

    _get: Callable[..., Any]
    _stream: Callable[[str], AbstractContextManager[httpx.Response]]

    def list_artifacts(self, bead_id: str, epoch: int = 0) -> tuple[Kept, ...]:
        """What the attempts at a bead left, or one of them. Raises NotFound."""
        where = f"{bead_path(bead_id)}/artifacts"
        page = self._get(where, attempt=epoch) if epoch else self._get(where)
        return tuple(map(kept_from_json, page["artifacts"]))

    def find_artifact(self, bead_id: str, name: str, epoch: int = 0) -> Kept:
        """The artifact of that name, of the newest attempt that left one. Raises NotFound."""
        named = [one for one in self.list_artifacts(bead_id, epoch) if one.artifact.name == name]
        if not named:
            raise NotFound(
                f"no attempt at {bead_id} left an artifact {name!r}: "
                f"`loom bead artifacts {bead_id}` lists them"
            )
        return max(named, key=lambda one: one.epoch)

    def download(self, kept: Kept, into: BinaryIO) -> None:
        """Write the artifact's content. Raises NotFound, Internal if it is not as it was kept."""
        digest = hashlib.sha256()
        with self._stream(artifact_path(kept)) as answer:
            for piece in answer.iter_bytes():
                digest.update(piece)
                into.write(piece)
        if digest.hexdigest() != kept.artifact.sha256:
            raise Internal(
                f"what came of {kept.artifact.name} has the hash {digest.hexdigest()}, and "
                f"{kept.artifact.sha256} was kept: fetch it again; if that stays so, the store "
                "has a fault",
                sha256=kept.artifact.sha256,
            )
