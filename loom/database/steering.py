"""What people, and the timers that carry on for them, do to the ledger: each in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from sqlalchemy import Connection

from loom.database import audit, deadletters, replays, settling, sweeping
from loom.domain.audit import AuditLine, Intervention, check_intervention
from loom.domain.bead import Bead
from loom.domain.identity import check_bead_id
from loom.domain.replay import LetterGroup, Replay, check_rate
from loom.messaging.deadletter import DeadLetter
from loom.rpc.v1 import database_pb2 as pb

T = TypeVar("T")

SPEAKER = "control"
"""The caller that has authenticated somebody else, and is believed who."""


class Run(Protocol):
    """Does work in one transaction. tells: it may add outbox rows."""

    def __call__(
        self,
        work: Callable[[Connection], T],
        time_left_s: float,
        locks: Sequence[int] = (),
        *,
        tells: bool = False,
    ) -> T: ...


def intervention(by: pb.Intervention, caller: str, traceparent: str) -> Intervention:
    """Who does it, and why; raises Invalid.

    The control plane alone says for whom it asks: anybody else acts in their own name.
    """
    return check_intervention(
        Intervention(
            acting(by.actor, caller), by.reason, by.correlation_id, by.traceparent or traceparent
        )
    )


def acting(actor: str, caller: str) -> str:
    """Whom the trail names for a call."""
    return (actor if caller == SPEAKER else "") or caller


class Steering:
    """Commands on beads and dead letters that come from a person, and the audit trail of them."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def cancel_bead(self, bead_id: str, by: Intervention, time_left_s: float) -> Bead:
        """Give a bead up; the bead then."""
        check_bead_id(bead_id)
        return self._run(lambda c: settling.cancel(c, bead_id, by), time_left_s, tells=True)

    def unblock_bead(self, bead_id: str, by: Intervention, time_left_s: float) -> Bead:
        """Let a blocked bead go on; the bead then."""
        check_bead_id(bead_id)
        return self._run(lambda c: settling.unblock(c, bead_id, by), time_left_s, tells=True)

    def get_letter(self, letter_id: int, time_left_s: float) -> DeadLetter:
        """One letter, whole."""
        return self._run(lambda c: deadletters.get(c, letter_id), time_left_s)

    def list_letters(
        self, request: pb.ListDeadLettersRequest, time_left_s: float
    ) -> tuple[tuple[DeadLetter, ...], str]:
        """Dead letters, newest first, and the next cursor."""
        return self._run(
            lambda c: deadletters.page(
                c,
                request.project_id,
                request.page_size,
                request.cursor,
                state=request.state,
                fingerprint=request.fingerprint,
                project_ids=list(request.project_ids),
            ),
            time_left_s,
        )

    def list_groups(
        self, request: pb.ListDeadLetterGroupsRequest, time_left_s: float
    ) -> tuple[tuple[LetterGroup, ...], str]:
        """Groups of dead letters, the newest first, and the next cursor."""
        return self._run(
            lambda c: deadletters.groups(
                c,
                request.project_id,
                request.state,
                request.page_size,
                request.cursor,
                project_ids=list(request.project_ids),
            ),
            time_left_s,
        )

    def replay_letter(
        self, letter_id: int, by: Intervention, dry_run: bool, time_left_s: float
    ) -> DeadLetter:
        """Send one letter on its way again; the letter then."""
        return self._run(
            lambda c: settling.replay_one(c, letter_id, by, dry_run=dry_run),
            time_left_s,
            tells=True,
        )

    def discard_letter(
        self, letter_id: int, by: Intervention, dry_run: bool, time_left_s: float
    ) -> DeadLetter:
        """Give one letter up; the letter then."""
        return self._run(
            lambda c: settling.discard_one(c, letter_id, by, dry_run=dry_run), time_left_s
        )

    def replay_group(
        self, request: pb.ReplayDeadLetterGroupRequest, by: Intervention, time_left_s: float
    ) -> tuple[int, Replay | None]:
        """How many letters of the group are open, and the replay of them that has begun."""
        check_rate(request.rate_per_s)

        def work(connection: Connection) -> tuple[int, Replay | None]:
            count = settling.matching(connection, request.fingerprint)
            if request.dry_run or not count:
                return count, None
            begun = replays.begin(
                connection, request.fingerprint, by, request.rate_per_s, canary=request.canary
            )
            return count, begun

        return self._run(work, time_left_s, tells=True)

    def discard_group(
        self, request: pb.DiscardDeadLetterGroupRequest, by: Intervention, time_left_s: float
    ) -> tuple[int, int]:
        """How many letters of the group were open, and how many were discarded."""

        def work(connection: Connection) -> tuple[int, int]:
            count = settling.matching(connection, request.fingerprint)
            if request.dry_run:
                return count, 0
            return count, settling.discard_group(connection, request.fingerprint, by)

        return self._run(work, time_left_s)

    def list_replays(
        self, request: pb.ListReplaysRequest, time_left_s: float
    ) -> tuple[tuple[Replay, ...], str]:
        """Replays of groups, newest first, and the next cursor."""
        return self._run(
            lambda c: replays.page(c, request.fingerprint, request.page_size, request.cursor),
            time_left_s,
        )

    def advance_replays(self, limit: int, time_left_s: float) -> replays.Advanced:
        """Take the next step of each replay."""
        return self._run(lambda c: replays.advance(c, limit), time_left_s, tells=True)

    def sweepable(self, limit: int, time_left_s: float) -> tuple[pb.SweepableLetter, ...]:
        """Letters of which a copy may stand on the broker that nobody needs any more."""
        return self._run(lambda c: sweeping.sweepable(c, limit), time_left_s)

    def settle_swept(self, gone: Sequence[int], missing: Sequence[int], time_left_s: float) -> None:
        """Note which copies are gone."""
        self._run(lambda c: sweeping.settle(c, gone, missing), time_left_s)

    def list_audit(
        self, request: pb.ListAuditRequest, time_left_s: float
    ) -> tuple[tuple[AuditLine, ...], str]:
        """The audit trail, newest first, and the next cursor."""
        return self._run(
            lambda c: audit.page(
                c, request.target, request.action, request.page_size, request.cursor
            ),
            time_left_s,
        )
