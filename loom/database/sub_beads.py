"""The beads that an attempt asks for: which of them are filed when its result ends its bead.

They are not filed for an attempt that another follows, which asks for them anew.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from loom.database import filing
from loom.database.changes import FiledBead, Report, Standing
from loom.domain.bead import NewBead
from loom.domain.evidence import MAX_SUB_BEADS, Outcome, SubBead
from loom.errors import Invalid, TooLarge

FILED_BY, GENERATION = "filed_by", "generation"
"""What the context of such a bead says: the bead it comes from, and how far it is from a person."""
MAX_GENERATION = 5
"""A bead this far from one that a person filed files no other: work that only makes work ends."""


@dataclass(frozen=True, slots=True)
class Asked:
    """filed: the beads to file. refused: in words, those that are not."""

    filed: tuple[FiledBead, ...] = ()
    refused: tuple[str, ...] = ()

    def told(self, outcome: Outcome) -> Outcome:
        """The outcome with what was refused in its notes."""
        if not self.refused:
            return outcome
        parts = [outcome.notes.rstrip(), *self.refused]
        return replace(outcome, notes="\n".join(filter(None, parts)))

    def facts(self) -> dict[str, Any]:
        """What the event of the bead's end tells of them."""
        facts: dict[str, Any] = {}
        if self.filed:
            facts["filed"] = [each.bead.id for each in self.filed]
        if self.refused:
            facts["not_filed"] = list(self.refused)
        return facts


def of(bead: Standing, report: Report) -> Asked:
    """What is filed of what the report asks for."""
    asked = report.outcome.sub_beads
    if asked and bead.generation >= MAX_GENERATION:
        why = (
            f"{len(asked)} beads are not filed: bead {bead.id} itself was filed by a bead, and so "
            f"were those before it, {MAX_GENERATION} in a row. A person has to file them"
        )
        return Asked(refused=(why,))
    filed: list[FiledBead] = []
    refused: list[str] = []
    for index, each in enumerate(asked[:MAX_SUB_BEADS]):
        try:
            new = _new(bead, report, index, each)
        except (Invalid, TooLarge) as error:
            refused.append(f"the bead {each.title[:80]!r} is not filed: {error.detail[:500]}")
        else:
            traceparent = report.traceparent or bead.traceparent
            filed.append(FiledBead(new, bead.project_id, bead.correlation_id, traceparent))
    if len(asked) > MAX_SUB_BEADS:
        refused.append(
            f"{len(asked) - MAX_SUB_BEADS} beads are not filed: one attempt may ask for "
            f"{MAX_SUB_BEADS}"
        )
    return Asked(tuple(filed), tuple(refused))


def id_of(bead_id: str, epoch: int, index: int) -> str:
    """The id of the bead that this attempt asks for at this place, always the same."""
    seed = json.dumps([bead_id, epoch, index]).encode()
    digest = base64.b32encode(hashlib.sha256(seed).digest()).decode().lower()
    return f"bd-{digest[:26]}"


def generation(value: object) -> int:
    """How far a bead is from a person, as its context says under GENERATION."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _new(bead: Standing, report: Report, index: int, asked: SubBead) -> NewBead:
    context: Mapping[str, Any] = {
        **asked.context,
        FILED_BY: bead.id,
        GENERATION: bead.generation + 1,
    }
    try:
        written = json.dumps(context)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"its context is no JSON: {error}") from error
    new = NewBead(
        title=asked.title,
        id=id_of(bead.id, report.epoch, index),
        description=asked.description,
        context=filing.read_context(written),
        priority=asked.priority,
    )
    filing.check_bead(new)
    return new
