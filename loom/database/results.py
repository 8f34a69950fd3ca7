"""Results of attempts, applied in batches, each once."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection, select, text

from loom.database import rows, sub_beads, tables
from loom.database.changes import Report, Standing
from loom.database.decisions import Judged
from loom.database.judging import judge
from loom.database.writing import write
from loom.telemetry.failpoints import failpoint, unguarded

SOURCE = "results"

_KEEP = text(
    """
    INSERT INTO inbox (message_id, source, verdict)
    SELECT r.message_id, :source, r.verdict
      FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (message_id text, verdict text)
    ON CONFLICT (message_id) DO NOTHING
    """
)


def record(connection: Connection, reports: Sequence[Report]) -> tuple[Judged, ...]:
    """Apply reports with their inbox rows; what became of each.

    The lock on a bead is what keeps two deliveries of one message apart: both name the same bead.
    """
    standings = rows.lock_standings(connection, sorted({report.bead_id for report in reports}))
    table = tables.inbox
    ids = sorted({report.message_id for report in reports})
    seen: Iterable[str] = connection.execute(
        select(table.c.message_id).where(table.c.message_id.in_(ids))
    ).scalars()
    standings = _with_generations(connection, reports, standings)
    if unguarded("inbox"):
        seen = ()
    if unguarded("fence"):
        reports = [_unfenced(report, standings) for report in reports]
    batch = judge(reports, standings, seen, random.random)
    write(connection, batch.changes)
    failpoint("database.mid_batch")
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


def _with_generations(
    connection: Connection, reports: Sequence[Report], standings: dict[str, Standing]
) -> dict[str, Standing]:
    """The standings, with the generation of those whose reports ask for beads."""
    asking = sorted({r.bead_id for r in reports if r.outcome.sub_beads} & standings.keys())
    if not asking:
        return standings
    b = tables.bead.c
    found = connection.execute(
        select(b.id, b.context[sub_beads.GENERATION]).where(b.id.in_(asking))
    )
    generations = {row[0]: sub_beads.generation(row[1]) for row in found}
    return {
        id_: replace(standing, generation=generations.get(id_, 0))
        for id_, standing in standings.items()
    }


def _unfenced(report: Report, standings: Mapping[str, Standing]) -> Report:
    """The report taken for the running attempt's, whoever sent it: what a fence prevents."""
    bead = standings.get(report.bead_id)
    if bead is None or bead.running is None:
        return report
    return replace(report, epoch=bead.epoch, agent_id=bead.running.agent_id)
