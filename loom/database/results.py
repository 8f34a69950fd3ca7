"""Results of attempts, applied in batches, each once."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, select, text

from loom.database import decisions, rows, tables
from loom.database.changes import Changes, Report, Standing
from loom.database.decisions import Judged
from loom.database.writing import write
from loom.domain.outbox import ResultVerdict

SOURCE = "results"

_KEEP = text(
    """
    INSERT INTO inbox (message_id, source, verdict)
    SELECT r.message_id, :source, r.verdict
      FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (message_id text, verdict text)
    ON CONFLICT (message_id) DO NOTHING
    """
)


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


def record(connection: Connection, reports: Sequence[Report]) -> tuple[Judged, ...]:
    """Apply reports with their inbox rows; what became of each.

    The lock on a bead is what keeps two deliveries of one message apart: both name the same bead.
    """
    standings = rows.lock_standings(connection, sorted({report.bead_id for report in reports}))
    table = tables.inbox
    ids = sorted({report.message_id for report in reports})
    seen = connection.execute(
        select(table.c.message_id).where(table.c.message_id.in_(ids))
    ).scalars()
    batch = judge(reports, standings, seen, random.random)
    write(connection, batch.changes)
    kept = batch.kept(reports)
    if kept:
        connection.execute(
            _KEEP,
            {
                "rows": json.dumps(
                    [{"message_id": id_, "verdict": verdict} for id_, verdict in kept.items()]
                ),
                "source": SOURCE,
            },
        )
    return batch.judged
