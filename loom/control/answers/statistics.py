"""What the ledger counts."""

from __future__ import annotations

from loom.control.answers.answer import Answer, Count, Moment


class ProjectFlowOut(Answer):
    """A project's beads by where they are; filed, claimed, recorded and closed in the last minute.

    Ages are in seconds; 0: there is none.
    """

    project_id: str
    open: Count
    in_progress: Count
    blocked: Count
    owed: Count
    held: Count
    oldest_owed_s: float
    queued: Count
    oldest_queued_s: float
    oldest_running_s: float
    overdue: Count
    dead: Count
    oldest_dead_s: float
    filed: Count
    claimed: Count
    recorded: Count
    closed: Count


class SpreadOut(Answer):
    """How long something took, in seconds: the median, and what 95 of 100 stayed below."""

    p50: float
    p95: float


class BucketOut(Answer):
    """A part of the window. pickup: from the broker's confirm to the claim; run: from the claim to
    the end of the attempt; trip: from filing to the end of the bead; null: nothing ended.
    """

    start: Moment
    filed: Count
    succeeded: Count
    failed: Count
    cancelled: Count
    attempts: Count
    pickup: SpreadOut | None
    run: SpreadOut | None
    trip: SpreadOut | None


class StatisticsOut(Answer):
    """Where work stands now, and what went through over a window."""

    at: Moment
    total: ProjectFlowOut
    projects: list[ProjectFlowOut]
    events_owed: Count
    oldest_event_s: float
    publish_error: str
    width_s: float
    buckets: list[BucketOut]
