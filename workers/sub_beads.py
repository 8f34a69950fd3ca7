"""The beads that an attempt asks for: how many and how large they may be, told before they cost."""

from __future__ import annotations

import json
from collections.abc import Sequence

from loom.domain.evidence import MAX_SUB_BEADS, SubBead
from loom.errors import Invalid
from loom.messaging.evidence import sub_beads_to_json

MAX_BYTES = 256 * 1024
"""Of all of one attempt, as JSON: the rest of its result has to fit beside them."""


def admit(asked: Sequence[SubBead], new: SubBead) -> None:
    """Raise Invalid if the attempt, which asked for those before, cannot ask for one more."""
    if len(asked) >= MAX_SUB_BEADS:
        raise Invalid(f"an attempt may ask for {MAX_SUB_BEADS} beads: {new.title[:80]!r} is more")
    try:
        size = _size([*asked, new])
    except (ValueError, TypeError, RecursionError) as error:
        raise Invalid(f"the bead {new.title[:80]!r} cannot be filed: {error}") from error
    if size > MAX_BYTES:
        raise Invalid(
            f"the beads an attempt asks for may take {MAX_BYTES} bytes: with {new.title[:80]!r} "
            f"they take {size}. Put large inputs into the repository"
        )


def admitted(asked: Sequence[SubBead]) -> tuple[tuple[SubBead, ...], tuple[str, ...]]:
    """Those that can be asked for, and in words why the others cannot."""
    kept: list[SubBead] = []
    refused: list[str] = []
    for each in asked:
        try:
            admit(kept, each)
        except Invalid as error:
            refused.append(f"a bead is not filed: {error.detail}")
        else:
            kept.append(each)
    if len(refused) > MAX_SUB_BEADS:
        more = len(refused) - MAX_SUB_BEADS
        refused[MAX_SUB_BEADS:] = [f"{more} more beads are not filed"]
    return tuple(kept), tuple(refused)


def _size(beads: Sequence[SubBead]) -> int:
    """Raises ValueError, TypeError or RecursionError for what no JSON can hold."""
    written = json.dumps(sub_beads_to_json(beads), ensure_ascii=False, allow_nan=False)
    return len(written.encode())
