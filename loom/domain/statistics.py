"""What the ledger counts: where work stands now, how much went through, and one bead's way."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from loom.domain.lifecycle import Resolution, State
from loom.errors import Invalid

LONGEST_WINDOW_S = 7 * 86_400
MOST_BUCKETS = 200
MOST_RELATIVES = 200


@dataclass(frozen=True, slots=True)
class ProjectFlow:
    """One project's beads by where they are. Ages in seconds; 0: there is none.

    owed: tasks in the outbox; held: those of them that wait for a time or for other beads. queued:
    on the broker and not claimed. overdue: running attempts whose lease ran out. dead: dead letters
    that nobody settled. filed, claimed, recorded (results), closed: of the last minute.
    """

    project_id: str
    open: int = 0
    in_progress: int = 0
    blocked: int = 0
    owed: int = 0
    held: int = 0
    oldest_owed_s: float = 0.0
    queued: int = 0
    oldest_queued_s: float = 0.0
    oldest_running_s: float = 0.0
    overdue: int = 0
    dead: int = 0
    oldest_dead_s: float = 0.0
    filed: int = 0
    claimed: int = 0
    recorded: int = 0
    closed: int = 0


@dataclass(frozen=True, slots=True)
class Flow:
    """Where work stands at one moment; projects without any are left out.

    events_owed: events that the broker has not got yet. publish_error: what publishing was refused
    with last, of what is still in the outbox.
    """

    at: datetime
    projects: tuple[ProjectFlow, ...] = ()
    events_owed: int = 0
    oldest_event_s: float = 0.0
    publish_error: str = ""

    def of(self, project_id: str) -> ProjectFlow:
        """One project's."""
        for each in self.projects:
            if each.project_id == project_id:
                return each
        return ProjectFlow(project_id)

    def total(self) -> ProjectFlow:
        """All projects' together: sums, and the greatest of the ages."""
        names = [name for name in ProjectFlow.__dataclass_fields__ if name != "project_id"]
        return ProjectFlow(
            "",
            **{
                name: (max if name.endswith("_s") else sum)(
                    [getattr(each, name) for each in self.projects] or [0]
                )
                for name in names
            },
        )


@dataclass(frozen=True, slots=True)
class Spread:
    """How long something took, in seconds: the median, and what 95 of 100 stayed below."""

    half: float
    most: float


@dataclass(frozen=True, slots=True)
class Bucket:
    """A part of a time. None where nothing ended.

    pickup: from the broker's confirm to the claim. run: from the claim to the end of the attempt.
    trip: from filing to the end of the bead.
    """

    start: datetime
    filed: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    attempts: int = 0
    pickup: Spread | None = None
    run: Spread | None = None
    trip: Spread | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """Parts of equal width, the oldest first."""

    width_s: float
    buckets: tuple[Bucket, ...]


@dataclass(frozen=True, slots=True)
class Relative:
    """A bead that another is linked with. kind: blocker, dependent, parent or child."""

    kind: str
    id: str
    title: str
    project_id: str
    state: State
    resolution: Resolution | None = None


@dataclass(frozen=True, slots=True)
class Trip:
    """What the ledger holds of a bead's way to an agent, and the beads it is linked with.

    dispatched_at: when the broker confirmed its newest task, of dispatched_epoch. owed_at,
    available_at: of the task that stands in the outbox now, tries and last_error of publishing it.
    """

    dispatched_at: datetime | None = None
    dispatched_epoch: int = 0
    owed_at: datetime | None = None
    available_at: datetime | None = None
    tries: int = 0
    last_error: str = ""
    relatives: tuple[Relative, ...] = ()


def check_window(window_s: int, buckets: int) -> None:
    """Raise Invalid for a time that nobody counts over."""
    if not 1 <= window_s <= LONGEST_WINDOW_S:
        raise Invalid(
            f"window_s is {window_s}: seconds from 1 to {LONGEST_WINDOW_S}", field="window_s"
        )
    if not 1 <= buckets <= MOST_BUCKETS:
        raise Invalid(f"buckets is {buckets}: from 1 to {MOST_BUCKETS}", field="buckets")
