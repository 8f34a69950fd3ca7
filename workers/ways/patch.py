"""Work by `patch`: a unified diff in the bead's context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loom.domain.actions import MAX_WORK_BYTES
from loom.domain.project import Project
from loom.errors import Invalid
from workers.ways.way import Bench, Way


class Patch(Way):
    """Applies context.patch."""

    def check(self, context: Mapping[str, Any], project: Project) -> None:
        """Raise Invalid for a patch that is none, or too large."""
        read(context)

    def work(self, bench: Bench) -> None:
        """Apply it."""
        bench.apply_patch(read(bench.bead.context))


def read(context: Mapping[str, Any]) -> bytes:
    """The patch, ending in a line end as git wants it; raises Invalid."""
    patch = context.get("patch")
    if not isinstance(patch, str):
        raise Invalid("context.patch has to be text, a unified diff")
    encoded = patch.encode(errors="surrogatepass")
    if len(encoded) > MAX_WORK_BYTES:
        raise Invalid(f"context.patch has {len(encoded)} bytes; the limit is {MAX_WORK_BYTES}")
    if not encoded.strip():
        raise Invalid("context.patch is empty")
    return encoded if encoded.endswith(b"\n") else encoded + b"\n"
