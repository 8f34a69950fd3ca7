"""What a comparison of ledger and broker found."""

from __future__ import annotations

from loom.control.answers.answer import Answer, Count


class MendedOut(Answer):
    """What was mended."""

    reowed: Count
    reopened: Count
    expired: Count


class HeldOut(Answer):
    """What the ledger believes of a project."""

    owed: Count
    dispatched: Count
    overdue: Count
    running: Count
    expired: Count
    stuck: Count
    dead: Count


class DepthOut(Answer):
    """What stands in a queue."""

    queue: str
    ready: Count
    unacked: Count | None
    missing: bool
    age_s: float


class AccountOut(Answer):
    """One project compared."""

    project_id: str
    unaccounted: Count
    lost: Count
    differences: list[str]
    ledger: HeldOut
    tasks: DepthOut | None
    dead_letters: DepthOut | None


class ReconciliationOut(Answer):
    """The number unaccounted for, what was mended, and every project's account."""

    unaccounted: Count
    mended: MendedOut
    projects: list[AccountOut]
