"""What the ledger counts, in a few statements over indexes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, TextClause, text

from loom.database.beads import missing
from loom.database.steering import Run
from loom.domain.lifecycle import Resolution, State
from loom.domain.statistics import (
    MOST_RELATIVES,
    Bucket,
    Flow,
    ProjectFlow,
    Relative,
    Series,
    Spread,
    Trip,
    check_window,
)

_MINE = "(:everywhere OR {of}.project_id = ANY(:projects))"
_AGE = "coalesce(extract(epoch FROM :now - min({moment}) {filter}), 0)"
_SENT = "b.state = 'open' AND b.dispatched_epoch = b.epoch + 1"


def _sql(statement: str) -> TextClause:
    return text(statement)


_BEADS = _sql(
    f"""
    SELECT b.project_id,
           count(*) FILTER (WHERE b.state = 'open') AS open,
           count(*) FILTER (WHERE b.state = 'in_progress') AS in_progress,
           count(*) FILTER (WHERE b.state = 'blocked') AS blocked,
           count(*) FILTER (WHERE {_SENT})
               AS queued,
           {_AGE.format(moment="b.dispatched_at", filter=f"FILTER (WHERE {_SENT})")}
               AS oldest_queued_s
      FROM bead b
     WHERE b.state IN ('open', 'in_progress', 'blocked') AND {_MINE.format(of="b")}
     GROUP BY b.project_id
    """  # noqa: S608 - put together from constants
)
_OUTBOX = _sql(
    f"""
    SELECT o.project_id, count(*) AS owed,
           count(*) FILTER (WHERE o.gated OR o.available_at > :now) AS held,
           {
        _AGE.format(
            moment="greatest(o.created_at, o.available_at)",
            filter="FILTER (WHERE NOT o.gated AND o.available_at <= :now)",
        )
    } AS oldest_owed_s
      FROM outbox o
     WHERE o.kind = 'task' AND {_MINE.format(of="o")}
     GROUP BY o.project_id
    """  # noqa: S608 - put together from constants
)
_EVENTS = _sql(
    f"""
    SELECT count(*) FILTER (WHERE o.kind = 'event') AS events_owed,
           {_AGE.format(moment="o.created_at", filter="FILTER (WHERE o.kind = 'event')")}
               AS oldest_event_s,
           coalesce(max(o.last_error) FILTER (WHERE o.last_error <> ''), '') AS publish_error
      FROM outbox o
     WHERE {_MINE.format(of="o")}
    """  # noqa: S608 - put together from constants
)
_RUNNING = _sql(
    f"""
    SELECT b.project_id,
           {_AGE.format(moment="a.claimed_at", filter="")} AS oldest_running_s,
           count(*) FILTER (WHERE a.lease_until < :now) AS overdue,
           count(*) FILTER (WHERE a.claimed_at > :now - interval '1 minute') AS claimed
      FROM attempt a JOIN bead b ON b.id = a.bead_id
     WHERE a.outcome = 'running' AND {_MINE.format(of="b")}
     GROUP BY b.project_id
    """  # noqa: S608 - put together from constants
)
_RECORDED = _sql(
    f"""
    SELECT b.project_id, count(*) AS recorded,
           count(*) FILTER (WHERE a.claimed_at > :now - interval '1 minute') AS claimed
      FROM attempt a JOIN bead b ON b.id = a.bead_id
     WHERE a.finished_at > :now - interval '1 minute' AND {_MINE.format(of="b")}
     GROUP BY b.project_id
    """  # noqa: S608 - put together from constants
)
_FILED = _sql(
    f"""
    SELECT b.project_id, count(*) AS filed FROM bead b
     WHERE b.created_at > :now - interval '1 minute' AND {_MINE.format(of="b")}
     GROUP BY b.project_id
    """  # noqa: S608 - put together from constants
)
_CLOSED = _sql(
    f"""
    SELECT b.project_id, count(*) AS closed FROM bead b
     WHERE b.closed_at > :now - interval '1 minute' AND {_MINE.format(of="b")}
     GROUP BY b.project_id
    """  # noqa: S608 - put together from constants
)
_DEAD = _sql(
    f"""
    SELECT d.project_id, count(*) AS dead,
           {_AGE.format(moment="d.recorded_at", filter="")} AS oldest_dead_s
      FROM dead_letter d
     WHERE d.state = 'open' AND {_MINE.format(of="d")}
     GROUP BY d.project_id
    """  # noqa: S608 - put together from constants
)
_BY_PROJECT = (_BEADS, _OUTBOX, _RUNNING, _RECORDED, _FILED, _CLOSED, _DEAD)

_BUCKET = "floor(extract(epoch FROM {moment} - :start) / :width)::int AS bucket"
_SOME = "(:every = 1 OR abs(hashtext({id})::bigint) % :every = 0)"
"""One of so many, always the same ones."""
SAMPLED = 20_000
"""How long things took is told by so many attempts, about, where there were more."""
_HALVES = "percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY extract(epoch FROM {span}))"
_FILED_SERIES = _sql(
    f"""
    SELECT {_BUCKET.format(moment="b.created_at")}, count(*) AS filed FROM bead b
     WHERE b.created_at >= :start AND b.created_at < :until AND {_MINE.format(of="b")}
     GROUP BY bucket
    """  # noqa: S608 - put together from constants
)
_CLOSED_SERIES = _sql(
    f"""
    SELECT {_BUCKET.format(moment="b.closed_at")},
           count(*) FILTER (WHERE b.resolution = 'succeeded') AS succeeded,
           count(*) FILTER (WHERE b.resolution = 'failed') AS failed,
           count(*) FILTER (WHERE b.resolution = 'cancelled') AS cancelled,
           {_HALVES.format(span="b.closed_at - b.created_at")}
               FILTER (WHERE {_SOME.format(id="b.id")}) AS trip
      FROM bead b
     WHERE b.closed_at >= :start AND b.closed_at < :until AND {_MINE.format(of="b")}
     GROUP BY bucket
    """  # noqa: S608 - put together from constants
)
_ENDED = _sql(
    """
    SELECT count(*) FROM attempt a WHERE a.finished_at >= :start AND a.finished_at < :until
    """
)
_ATTEMPT_SERIES = _sql(
    f"""
    SELECT {_BUCKET.format(moment="a.finished_at")}, count(*) AS attempts FROM attempt a
     WHERE a.finished_at >= :start AND a.finished_at < :until
       AND (:everywhere OR EXISTS (SELECT FROM bead b
                                    WHERE b.id = a.bead_id AND b.project_id = ANY(:projects)))
     GROUP BY bucket
    """  # noqa: S608 - put together from constants
)
_RUN_SERIES = _sql(
    f"""
    SELECT {_BUCKET.format(moment="a.finished_at")},
           {_HALVES.format(span="a.finished_at - a.claimed_at")} AS run,
           {_HALVES.format(span="a.claimed_at - b.dispatched_at")}
               FILTER (WHERE b.dispatched_epoch = a.epoch AND b.dispatched_at <= a.claimed_at)
               AS pickup
      FROM attempt a JOIN bead b ON b.id = a.bead_id
     WHERE a.finished_at >= :start AND a.finished_at < :until
       AND {_SOME.format(id="a.bead_id")} AND {_MINE.format(of="b")}
     GROUP BY bucket
    """  # noqa: S608 - put together from constants
)
_SERIES = (_FILED_SERIES, _CLOSED_SERIES, _ATTEMPT_SERIES, _RUN_SERIES)

_TRIP = _sql(
    """
    SELECT b.dispatched_at, b.dispatched_epoch, b.blocked_by, b.parent, o.created_at AS owed_at,
           o.available_at, coalesce(o.tries, 0) AS tries, coalesce(o.last_error, '') AS last_error
      FROM bead b
      LEFT JOIN outbox o ON o.kind = 'task' AND o.bead_id = b.id AND o.epoch = b.epoch + 1
     WHERE b.id = :id
    """
)
_RELATIVES = _sql(
    """
    SELECT * FROM (
        SELECT 'blocker' AS kind, b.id, b.title, b.project_id, b.state, b.resolution
          FROM bead b WHERE b.id = ANY(:blocked_by)
        UNION ALL
        SELECT 'parent', b.id, b.title, b.project_id, b.state, b.resolution
          FROM bead b WHERE b.id = :parent
        UNION ALL
        (SELECT 'child', b.id, b.title, b.project_id, b.state, b.resolution
           FROM bead b WHERE b.parent = :id AND b.parent <> '' LIMIT :most)
        UNION ALL
        (SELECT 'dependent', b.id, b.title, b.project_id, b.state, b.resolution
           FROM bead b WHERE b.gated AND b.blocked_by @> ARRAY[:id] LIMIT :most)
    ) AS r ORDER BY r.kind, r.id LIMIT :most
    """
)


class Statistics:
    """Counts, each answer from one transaction."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def flow(self, project_ids: Sequence[str], time_left_s: float) -> Flow:
        """Where work stands now, in these projects or in all."""

        def work(connection: Connection) -> Flow:
            now = _now(connection)
            given = _scope(project_ids) | {"now": now}
            found: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(int))
            for statement in _BY_PROJECT:
                for row in connection.execute(statement, given).mappings():
                    kept = found[row["project_id"]]
                    for name, value in row.items():
                        if name != "project_id":
                            kept[name] += float(value) if name.endswith("_s") else value
            events = connection.execute(_EVENTS, given).mappings().one()
            return Flow(
                at=now,
                projects=tuple(ProjectFlow(id_, **counts) for id_, counts in sorted(found.items())),
                events_owed=events["events_owed"],
                oldest_event_s=float(events["oldest_event_s"]),
                publish_error=events["publish_error"],
            )

        return self._run(work, time_left_s)

    def series(
        self, window_s: int, buckets: int, project_ids: Sequence[str], time_left_s: float
    ) -> Series:
        """What went through in the last window_s seconds. Raises Invalid."""
        check_window(window_s, buckets)
        width = window_s / buckets

        def work(connection: Connection) -> Series:
            first = first_start(_now(connection), width, buckets)
            until = first + timedelta(seconds=window_s)
            span = {"start": first, "until": until}
            ended: int = connection.execute(_ENDED, span).scalar_one()
            every = max(1, ended // SAMPLED)
            given = _scope(project_ids) | span | {"width": width, "every": every}
            found: dict[int, dict[str, Any]] = defaultdict(dict)
            for statement in _SERIES:
                for row in connection.execute(statement, given).mappings():
                    counts = {name: value for name, value in row.items() if name != "bucket"}
                    found[row["bucket"]] |= counts
            return Series(
                width,
                tuple(
                    _bucket(first + timedelta(seconds=width * n), found.get(n, {}))
                    for n in range(buckets)
                ),
            )

        return self._run(work, time_left_s)

    def trip(self, bead_id: str, time_left_s: float) -> Trip:
        """A bead's way to an agent, and the beads it is linked with. Raises NotFound."""

        def work(connection: Connection) -> Trip:
            row = connection.execute(_TRIP, {"id": bead_id}).mappings().one_or_none()
            if row is None:
                raise missing(bead_id)
            facts = dict(row)
            links = {"blocked_by": facts.pop("blocked_by"), "parent": facts.pop("parent")}
            found = connection.execute(
                _RELATIVES, links | {"id": bead_id, "most": MOST_RELATIVES}
            ).mappings()
            return Trip(**facts, relatives=tuple(_relative(each) for each in found))

        return self._run(work, time_left_s)


def first_start(now: datetime, width_s: float, buckets: int) -> datetime:
    """When the oldest part begins: parts begin at whole multiples of their width, and so stay the
    same from one answer to the next; the last holds this moment."""
    last = now.timestamp() // width_s * width_s
    return datetime.fromtimestamp(last - width_s * (buckets - 1), UTC)


def _now(connection: Connection) -> datetime:
    found: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    return found


def _scope(project_ids: Sequence[str]) -> dict[str, Any]:
    return {"everywhere": not project_ids, "projects": list(project_ids)}


def _bucket(start: datetime, counts: dict[str, Any]) -> Bucket:
    for name in ("pickup", "run", "trip"):
        if (halves := counts.pop(name, None)) is not None:
            counts[name] = Spread(*map(float, halves))
    return Bucket(start, **counts)


def _relative(row: Any) -> Relative:
    return Relative(
        row["kind"], row["id"], row["title"], row["project_id"], State(row["state"]),
        Resolution(row["resolution"]) if row["resolution"] else None,
    )  # fmt: skip
