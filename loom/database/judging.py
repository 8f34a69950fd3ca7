"""What becomes of a batch of results, each seeing what the ones before it changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from loom.database import decisions
from loom.database.changes import Changes, Report, Standing
from loom.database.decisions import Judged
from loom.domain.outbox import ResultVerdict


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of each report of a batch, and what all of them write."""

    judged: tuple[Judged, ...]
    changes: Changes

    def kept(self, reports: Sequence[Report]) -> dict[str, str]:
        """The inbox rows: message id and verdict of those that are judged once."""
        return {
            report.message_id: judged.verdict.value
            for report, judged in zip(reports, self.judged, strict=True)
            if judged.kept
        }


def judge(
    reports: Sequence[Report],
    standings: Mapping[str, Standing],
    seen: Iterable[str],
    jitter: Callable[[], float],
) -> Batch:
    """Decide on reports in their order, each seeing what the ones before it changed.

    seen: message ids that the inbox has.
    """
    known = dict(standings)
    judged_ids = set(seen)
    changes = Changes()
    verdicts: list[Judged] = []
    for report in reports:
        if report.message_id in judged_ids:
            verdicts.append(Judged(ResultVerdict.DUPLICATE, "the inbox has it", kept=False))
            continue
        judged = decisions.result(known.get(report.bead_id), report, jitter())
        verdicts.append(judged)
        if judged.kept:
            judged_ids.add(report.message_id)
        changes += judged.changes
        for move in judged.changes.moved:
            known[move.id] = replace(
                known[move.id], state=move.state, epoch=move.epoch, running=None
            )
    return Batch(tuple(verdicts), changes)
