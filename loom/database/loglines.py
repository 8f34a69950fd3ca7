"""The lines of attempts in the ledger: chunks as they come, each once, read by place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from loom.database import beads
from loom.database.lognotes import CHUNKS, Reading, Teller, Told, judge, mark, settled
from loom.domain.log import LineKind, LogChunk, LogCursor, LogLine, LogVerdict
from loom.errors import NotFound

Key = tuple[str, int, int]

_TELLERS = text(
    """
    SELECT a.bead_id, a.epoch, b.project_id, a.epoch = b.epoch AS newest, a.outcome,
           a.lease_until > clock_timestamp() AS held,
           CAST(extract(epoch FROM clock_timestamp() - a.finished_at) AS double precision)
               AS ended_s,
           coalesce(l.size, 0) AS size
      FROM jsonb_to_recordset(CAST(:keys AS jsonb)) AS k (bead_id text, epoch bigint)
      JOIN attempt a ON a.bead_id = k.bead_id AND a.epoch = k.epoch
      JOIN bead b ON b.id = a.bead_id
      LEFT JOIN attempt_log l ON l.bead_id = a.bead_id AND l.epoch = a.epoch
    """
)
_KNOWN = text(
    """
    SELECT c.bead_id, c.epoch, c.seq
      FROM jsonb_to_recordset(CAST(:keys AS jsonb)) AS k (bead_id text, epoch bigint, seq bigint)
      JOIN log_chunk c ON c.bead_id = k.bead_id AND c.epoch = k.epoch AND c.seq = k.seq
    """
)
# In one order everywhere, so that two that write at once do not wait for each other in a ring.
_KEEP = text(
    """
    WITH given AS (
        SELECT * FROM jsonb_to_recordset(CAST(:chunks AS jsonb)) AS c (
               bead_id text, epoch bigint, seq bigint, first bigint, lines jsonb, size bigint,
               last boolean)
    ), kept AS (
        INSERT INTO log_chunk (bead_id, epoch, seq, first, lines, size)
        SELECT bead_id, epoch, seq, first, lines, size FROM given ORDER BY bead_id, epoch, seq
        ON CONFLICT DO NOTHING
        RETURNING bead_id, epoch, seq, size
    ), summed AS (
        INSERT INTO attempt_log AS l (bead_id, epoch, chunks, size, last)
        SELECT k.bead_id, k.epoch, count(*), sum(k.size), coalesce(max(k.seq) FILTER (
               WHERE g.last), 0)
          FROM kept k JOIN given g USING (bead_id, epoch, seq)
         GROUP BY k.bead_id, k.epoch ORDER BY k.bead_id, k.epoch
        ON CONFLICT (bead_id, epoch) DO UPDATE
           SET chunks = l.chunks + excluded.chunks, size = l.size + excluded.size,
               last = greatest(l.last, excluded.last)
    )
    SELECT bead_id, epoch, seq FROM kept
    """
)
_ABOUT = text(
    """
    SELECT b.id, b.project_id, b.state, b.epoch AS newest, a.epoch, a.outcome,
           a.lease_until > clock_timestamp() AS held,
           CAST(extract(epoch FROM clock_timestamp() - a.finished_at) AS double precision)
               AS ended_s,
           coalesce(l.size, 0) AS size, coalesce(l.last, 0) AS last,
           coalesce((SELECT min(n.epoch) FROM attempt n
                      WHERE n.bead_id = b.id AND n.epoch > :epoch), 0) AS later
      FROM bead b
      LEFT JOIN attempt a ON a.bead_id = b.id AND a.epoch = :epoch
      LEFT JOIN attempt_log l ON l.bead_id = b.id AND l.epoch = :epoch
     WHERE b.id = :bead_id
    """
)
_CHUNKS = text(
    """
    SELECT seq, first, lines, recorded_at,
           CAST(extract(epoch FROM clock_timestamp() - recorded_at) AS double precision) AS age_s
      FROM log_chunk
     WHERE bead_id = :bead_id AND epoch = :epoch AND seq >= :seq
     ORDER BY seq LIMIT :most
    """
)
_NEWEST = text(
    "SELECT coalesce((SELECT max(epoch) FROM attempt WHERE bead_id = :bead_id), 0) FROM bead "
    "WHERE id = :bead_id"
)
_END = text(
    """
    SELECT seq, jsonb_array_length(lines) AS lines FROM log_chunk
     WHERE bead_id = :bead_id AND epoch = :epoch ORDER BY seq DESC LIMIT 1
    """
)
_MARKS = text(
    """
    SELECT b.id, b.version, b.epoch, coalesce(l.chunks, 0) AS chunks
      FROM bead b LEFT JOIN attempt_log l ON l.bead_id = b.id AND l.epoch = b.epoch
     WHERE b.id = ANY(:ids)
    """
)


def append(connection: Connection, chunks: Sequence[LogChunk]) -> tuple[LogVerdict, ...]:
    """Keep what is to be kept; what became of each, in their order."""
    keys = [{"bead_id": c.bead_id, "epoch": c.epoch, "seq": c.seq} for c in chunks]
    pairs = sorted({(c.bead_id, c.epoch) for c in chunks})
    tellers = {
        (row.bead_id, row.epoch): _teller(row)
        for row in connection.execute(
            _TELLERS, {"keys": json.dumps([{"bead_id": b, "epoch": e} for b, e in pairs])}
        )
    }
    known: set[Key] = {
        (row.bead_id, row.epoch, row.seq)
        for row in connection.execute(_KNOWN, {"keys": json.dumps(keys)})
    }
    verdicts: list[LogVerdict] = []
    sizes: dict[tuple[str, int], int] = {}
    keep: list[LogChunk] = []
    for chunk in chunks:
        attempt, key = (chunk.bead_id, chunk.epoch), (chunk.bead_id, chunk.epoch, chunk.seq)
        verdict = judge(chunk, tellers.get(attempt), sizes.get(attempt, 0))
        if verdict is LogVerdict.KEPT and key in known:
            verdict = LogVerdict.KNOWN
        if verdict is LogVerdict.KEPT:
            known.add(key)
            keep.append(chunk)
            sizes[attempt] = sizes.get(attempt, 0) + chunk.size
        verdicts.append(verdict)
    if keep:
        connection.execute(_KEEP, {"chunks": json.dumps([_chunk_to_json(c) for c in keep])})
    return tuple(verdicts)


def about(connection: Connection, bead_id: str, epoch: int) -> Reading:
    """What a reader of that attempt has to know; epoch 0: before the first. Raises NotFound."""
    row = connection.execute(_ABOUT, {"bead_id": bead_id, "epoch": epoch}).one_or_none()
    if row is None:
        raise beads.missing(bead_id)
    if epoch and row.epoch is None:
        raise no_attempt(bead_id, epoch)
    return Reading(
        teller=_teller(row, newest=row.epoch == row.newest) if epoch else None,
        last=row.last,
        later=row.later,
        settled=settled(row.state),
    )


def no_attempt(bead_id: str, epoch: int) -> NotFound:
    """What is said where a bead has no such attempt."""
    return NotFound(
        f"bead {bead_id} has no attempt {epoch}: `loom bead attempts {bead_id}` says which it has",
        bead_id=bead_id,
        epoch=str(epoch),
    )


def newest(connection: Connection, bead_id: str) -> int:
    """The epoch of a bead's newest attempt; 0 before the first. Raises NotFound."""
    found = connection.execute(_NEWEST, {"bead_id": bead_id}).scalar_one_or_none()
    if found is None:
        raise beads.missing(bead_id)
    return int(found)


def end(connection: Connection, bead_id: str, epoch: int) -> LogCursor:
    """The place after all that an attempt has said so far."""
    row = connection.execute(_END, {"bead_id": bead_id, "epoch": epoch}).one_or_none()
    return LogCursor(epoch, row.seq, row.lines) if row is not None else LogCursor(epoch)


def chunks_from(connection: Connection, bead_id: str, place: LogCursor) -> list[Told]:
    """The chunks of the place's attempt, from its own on."""
    words = {"bead_id": bead_id, "epoch": place.epoch, "seq": place.seq, "most": CHUNKS}
    return [
        Told(row.seq, row.first, lines_from_json(row.lines), row.recorded_at, row.age_s)
        for row in connection.execute(_CHUNKS, words)
    ]


def marks(connection: Connection, bead_ids: Sequence[str]) -> Mapping[str, str]:
    """What stands for the state of each bead's log; a bead that is not there has none."""
    rows = connection.execute(_MARKS, {"ids": list(bead_ids)})
    return {row.id: mark(row.version, row.epoch, row.chunks) for row in rows}


def _teller(row: Row[Any], *, newest: bool | None = None) -> Teller:
    return Teller(
        project_id=row.project_id,
        newest=row.newest if newest is None else newest,
        outcome=row.outcome,
        held=row.held,
        ended_s=row.ended_s,
        size=row.size,
    )


def _chunk_to_json(chunk: LogChunk) -> dict[str, Any]:
    return {
        "bead_id": chunk.bead_id,
        "epoch": chunk.epoch,
        "seq": chunk.seq,
        "first": chunk.first,
        "lines": [_line_to_json(line) for line in chunk.lines],
        "size": chunk.size,
        "last": chunk.last,
    }


def _line_to_json(line: LogLine) -> dict[str, Any]:
    """A line as it is kept; what is as in most of them is not written."""
    document: dict[str, Any] = {"at": line.at.isoformat(), "text": line.text}
    if line.step:
        document["step"] = line.step
    if line.kind is not LineKind.OUT:
        document["kind"] = line.kind.value
    if line.more:
        document["more"] = True
    return document


def lines_from_json(documents: Sequence[Mapping[str, Any]]) -> tuple[LogLine, ...]:
    """Lines as they are kept."""
    return tuple(
        LogLine(
            at=datetime.fromisoformat(each["at"]),
            text=each["text"],
            step=each.get("step", ""),
            kind=LineKind(each.get("kind", "out")),
            more=each.get("more", False),
        )
        for each in documents
    )
