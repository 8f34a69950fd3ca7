"""The calls of the database service that carry what people do, and the audit of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from loom.clients.answers import Page
from loom.domain.audit import AuditLine, Intervention
from loom.domain.bead import Bead
from loom.domain.replay import GroupReplay, LetterGroup, Replay
from loom.messaging.deadletter import DeadLetter
from loom.rpc import codec
from loom.rpc.v1 import database_pb2 as pb
from loom.rpc.v1 import database_pb2_grpc


@dataclass(frozen=True, slots=True)
class Sweepable:
    """A letter that is dealt with, of which a copy may stand on the broker.

    queue: the one it died in.
    """

    id: int
    message_id: str
    queue: str
    project_id: str


class SteeringCalls:
    """Calls on beads, dead letters and the audit; DatabaseClient has the others."""

    _stub: database_pb2_grpc.DatabaseServiceStub
    _call: Callable[..., Any]

    def cancel_bead(self, bead_id: str, by: Intervention) -> Bead:
        """Give a bead up; the bead then. Raises NotFound, IllegalTransition."""
        request = pb.CancelBeadRequest(bead_id=bead_id, by=codec.intervention_to_pb(by))
        return codec.bead_from_pb(self._call(self._stub.CancelBead, request).bead)

    def unblock_bead(self, bead_id: str, by: Intervention) -> Bead:
        """Let a blocked bead go on; the bead then. Raises NotFound, IllegalTransition."""
        request = pb.UnblockBeadRequest(bead_id=bead_id, by=codec.intervention_to_pb(by))
        return codec.bead_from_pb(self._call(self._stub.UnblockBead, request).bead)

    def get_dead_letter(self, letter_id: int) -> DeadLetter:
        """One dead letter, with all that is kept of its body. Raises NotFound."""
        answer = self._call(self._stub.GetDeadLetter, pb.GetDeadLetterRequest(id=letter_id))
        return codec.dead_letter_from_pb(answer.letter)

    def list_dead_letters(
        self, project_id: str = "", page_size: int = 50, cursor: str = "", state: str = "",
        fingerprint: str = "", *, project_ids: Sequence[str] = (),
    ) -> Page[DeadLetter]:  # fmt: skip
        """Dead letters, newest first, with the beginnings of their bodies."""
        answer = self._call(
            self._stub.ListDeadLetters,
            pb.ListDeadLettersRequest(
                project_id=project_id,
                page_size=page_size,
                cursor=cursor,
                state=state,
                fingerprint=fingerprint,
                project_ids=project_ids,
            ),
        )
        return Page(tuple(map(codec.dead_letter_from_pb, answer.letters)), answer.next_cursor)

    def list_dead_letter_groups(
        self, project_id: str = "", state: str = "", page_size: int = 50, cursor: str = "",
        *, project_ids: Sequence[str] = (),
    ) -> Page[LetterGroup]:  # fmt: skip
        """Groups of dead letters of one cause, the one with the newest letter first."""
        answer = self._call(
            self._stub.ListDeadLetterGroups,
            pb.ListDeadLetterGroupsRequest(
                project_id=project_id,
                state=state,
                page_size=page_size,
                cursor=cursor,
                project_ids=project_ids,
            ),
        )
        return Page(tuple(map(codec.group_from_pb, answer.groups)), answer.next_cursor)

    def replay_dead_letter(
        self, letter_id: int, by: Intervention, *, dry_run: bool = False
    ) -> DeadLetter:
        """Send one letter on its way again. Raises NotFound, IllegalTransition."""
        request = pb.ReplayDeadLetterRequest(
            id=letter_id, by=codec.intervention_to_pb(by), dry_run=dry_run
        )
        return codec.dead_letter_from_pb(self._call(self._stub.ReplayDeadLetter, request).letter)

    def discard_dead_letter(
        self, letter_id: int, by: Intervention, *, dry_run: bool = False
    ) -> DeadLetter:
        """Give one letter up. Raises NotFound, IllegalTransition."""
        request = pb.DiscardDeadLetterRequest(
            id=letter_id, by=codec.intervention_to_pb(by), dry_run=dry_run
        )
        return codec.dead_letter_from_pb(self._call(self._stub.DiscardDeadLetter, request).letter)

    def replay_dead_letter_group(
        self, fingerprint: str, by: Intervention, *, dry_run: bool = False,
        rate_per_s: float = 0.0, canary: bool = False,
    ) -> GroupReplay:  # fmt: skip
        """Begin the replay of a group. Raises Conflict while another one of it runs."""
        answer = self._call(
            self._stub.ReplayDeadLetterGroup,
            pb.ReplayDeadLetterGroupRequest(
                fingerprint=fingerprint,
                by=codec.intervention_to_pb(by),
                dry_run=dry_run,
                rate_per_s=rate_per_s,
                canary=canary,
            ),
        )
        begun = codec.replay_from_pb(answer.replay) if answer.HasField("replay") else None
        return GroupReplay(answer.matching, begun)

    def discard_dead_letter_group(
        self, fingerprint: str, by: Intervention, *, dry_run: bool = False
    ) -> tuple[int, int]:
        """Give up a group: how many of its letters were open, and how many are discarded."""
        answer = self._call(
            self._stub.DiscardDeadLetterGroup,
            pb.DiscardDeadLetterGroupRequest(
                fingerprint=fingerprint, by=codec.intervention_to_pb(by), dry_run=dry_run
            ),
        )
        return answer.matching, answer.discarded

    def list_replays(
        self, fingerprint: str = "", page_size: int = 50, cursor: str = ""
    ) -> Page[Replay]:
        """Replays of groups, newest first."""
        answer = self._call(
            self._stub.ListReplays,
            pb.ListReplaysRequest(fingerprint=fingerprint, page_size=page_size, cursor=cursor),
        )
        return Page(tuple(map(codec.replay_from_pb, answer.replays)), answer.next_cursor)

    def advance_replays(self, limit: int = 50) -> tuple[int, int, int]:
        """Take the next step of each replay: letters replayed, refused, and replays ended."""
        answer = self._call(self._stub.AdvanceReplays, pb.AdvanceReplaysRequest(limit=limit))
        return answer.replayed, answer.refused, answer.ended

    def list_sweepable(self, limit: int = 500) -> tuple[Sweepable, ...]:
        """Letters that are dealt with and of which a copy may still stand on the broker."""
        answer = self._call(self._stub.ListSweepable, pb.ListSweepableRequest(limit=limit))
        return tuple(
            Sweepable(each.id, each.message_id, each.queue, each.project_id)
            for each in answer.letters
        )

    def settle_swept(self, gone: Sequence[int], missing: Sequence[int]) -> None:
        """Say which copies were taken from the broker, and which were not found there."""
        self._call(self._stub.SettleSwept, pb.SettleSweptRequest(gone=gone, missing=missing))

    def list_audit(
        self, target: str = "", action: str = "", page_size: int = 50, cursor: str = ""
    ) -> Page[AuditLine]:
        """The audit trail, newest first."""
        answer = self._call(
            self._stub.ListAudit,
            pb.ListAuditRequest(target=target, action=action, page_size=page_size, cursor=cursor),
        )
        return Page(tuple(map(codec.audit_line_from_pb, answer.lines)), answer.next_cursor)
