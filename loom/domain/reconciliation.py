"""Whether ledger and broker agree, project by project: a decision on counts that were gathered.

A message is on the broker for every bead that was dispatched and not claimed, and one more, not
acknowledged, for every attempt that runs. A broker that holds fewer has lost some.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

DEFAULT_GRACE_S = 60.0
"""How long a dispatched bead may wait unseen before its message is looked for."""
MAX_GRACE_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Depth:
    """What stands in one queue.

    unacked: delivered and not acknowledged; None where nobody can say. missing: there is no such
    queue. age_s: how old the counts may be, in seconds.
    """

    queue: str
    ready: int = 0
    unacked: int | None = None
    missing: bool = False
    age_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Held:
    """What the ledger believes of one project.

    owed: beads with a task in the outbox. dispatched: open beads whose task the broker confirmed.
    overdue: those of them that were dispatched longer ago than the grace. running: attempts that
    were claimed before the broker's counts were taken. expired: running attempts whose lease ended
    longer ago than the grace. stuck: beads that are neither owed, dispatched nor running, and yet
    not at an end. dead: dead letters of the project's queue.
    """

    project_id: str
    owed: int = 0
    dispatched: int = 0
    overdue: int = 0
    running: int = 0
    expired: int = 0
    stuck: int = 0
    dead: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """One project compared. tasks, dead: its queues as they were read; None: they were not.

    lost: messages that the broker should hold and does not, so many at least. differences: what
    else does not agree, in words.
    """

    held: Held
    tasks: Depth | None = None
    dead: Depth | None = None
    lost: int = 0
    differences: tuple[str, ...] = ()

    @property
    def unaccounted(self) -> int:
        """Beads that would never end if nobody mended this."""
        return self.lost + self.held.stuck


@dataclass(frozen=True, slots=True)
class Mended:
    """How many beads are owed anew, how many were reopened, and how many leases were ended."""

    reowed: int = 0
    reopened: int = 0
    expired: int = 0


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Every project's account, and what was mended."""

    accounts: tuple[Account, ...] = ()
    mended: Mended = field(default_factory=Mended)

    @property
    def unaccounted(self) -> int:
        """It must be 0."""
        return sum(account.unaccounted for account in self.accounts)

    @property
    def left(self) -> int:
        """How many are still unaccounted for after what was mended."""
        return max(0, self.unaccounted - self.mended.reowed - self.mended.reopened)


def spare(tasks: Depth, running: int) -> int:
    """How many messages stand in the queue for beads that nobody has claimed, at most.

    A running attempt holds its message unacknowledged. One that has lost it (its connection broke)
    takes none away from those that wait. Where nobody counts what is unacknowledged, only what is
    ready is known.
    """
    return tasks.ready + max(0, (tasks.unacked or 0) - running)


def account(held: Held, tasks: Depth | None, dead: Depth | None) -> Account:
    """Compare one project's beads with its queues."""
    lost = 0 if tasks is None else max(0, held.overdue - spare(tasks, held.running))
    return Account(held, tasks, dead, lost, tuple(_differences(held, tasks, dead, lost)))


def compare(held: Iterable[Held], depths: Mapping[str, tuple[Depth | None, Depth | None]]) -> (
    tuple[Account, ...]
):  # fmt: skip
    """An account of every project, by its id. depths: the queues of tasks and of dead letters."""
    return tuple(
        account(each, *depths.get(each.project_id, (None, None)))
        for each in sorted(held, key=lambda each: each.project_id)
    )


def to_owe(accounts: Iterable[Account]) -> tuple[str, ...]:
    """The projects whose overdue beads are to be owed anew.

    Counts do not say which message was lost, so every overdue bead of such a project gets another:
    a claim is fenced, so that the second message of a bead does nothing.
    """
    return tuple(each.held.project_id for each in accounts if each.lost)


def _differences(held: Held, tasks: Depth | None, dead: Depth | None, lost: int) -> Iterable[str]:
    if tasks is None:
        yield "its queue was not read"
    elif tasks.missing:
        yield f"there is no queue {tasks.queue}"
    elif tasks.unacked is not None and held.running > tasks.unacked:
        yield f"{held.running} attempts run, and {tasks.unacked} messages are unacknowledged"
    if lost:
        yield f"{held.overdue} beads wait in the queue for too long, and {lost} messages are gone"
    if held.stuck:
        yield f"{held.stuck} beads are neither owed, dispatched nor running"
    if held.expired:
        yield f"{held.expired} leases ended and nobody took note of it"
    if dead is not None and dead.ready + (dead.unacked or 0) > held.dead:
        found = dead.ready + (dead.unacked or 0)
        yield f"{found} dead letters stand in the queue, and the ledger has {held.dead}"
