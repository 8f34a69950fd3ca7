"""The calls of the HTTP API by which a person deals with beads and dead letters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.clients import trail
from loom.clients.answers import Page
from loom.clients.listing import bulk_request_to_json
from loom.clients.representation import (
    API,
    bead_from_json,
    bead_path,
    bulk_from_json,
    dead_letter_from_json,
    project_path,
)
from loom.domain.audit import AuditLine
from loom.domain.bead import Bead
from loom.domain.bulk import Bulk, BulkAnswer
from loom.domain.replay import GroupReplay, LetterGroup, Replay
from loom.messaging.deadletter import DeadLetter


class OperatingCalls:
    """Calls on beads, dead letters and the audit; ControlClient has the others."""

    _get: Callable[..., Any]
    _post: Callable[..., Any]
    _ask: Callable[..., Any]

    def status(self) -> dict[str, Any]:
        """How every service is, and what waits where."""
        return dict(self._get(f"{API}/status"))

    def cancel_bead(self, bead_id: str, reason: str) -> Bead:
        """Give a bead up; the bead then. Raises NotFound, IllegalTransition."""
        return self._act(bead_id, "cancel", reason)

    def unblock_bead(self, bead_id: str, reason: str) -> Bead:
        """Let a blocked bead go on; the bead then. Raises NotFound, IllegalTransition."""
        return self._act(bead_id, "unblock", reason)

    def claim_bead(self, bead_id: str, reason: str, assignee: str = "") -> Bead:
        """Take a bead by hand, or give it to somebody; the bead then.

        Raises NotFound, IllegalTransition.
        """
        asked = {"reason": reason} | ({"assignee": assignee} if assignee else {})
        return bead_from_json(self._post(f"{bead_path(bead_id)}/claim", asked, "").json())

    def release_bead(self, bead_id: str, reason: str) -> Bead:
        """Give a bead to the agents again; the bead then. Raises NotFound."""
        return self._act(bead_id, "release", reason)

    def link_bead(self, bead_id: str, blocker_id: str, *, waits: bool = True) -> Bead:
        """Let a bead wait for another, or no more; the bead then.

        Raises NotFound, Invalid (a circle), IllegalTransition.
        """
        path = f"{bead_path(bead_id)}/blocked-by/{blocker_id}"
        return bead_from_json(self._ask("PUT" if waits else "DELETE", path).json())

    def act_on_beads(self, bulk: Bulk, reason: str) -> BulkAnswer:
        """Do the same to many beads; what became of each. Raises Invalid."""
        asked = bulk_request_to_json(bulk, reason)
        return bulk_from_json(self._post(f"{API}/beads/bulk", asked, "").json())

    def _act(self, bead_id: str, what: str, reason: str) -> Bead:
        answer = self._post(f"{bead_path(bead_id)}/{what}", {"reason": reason}, "")
        return bead_from_json(answer.json())

    def list_dead_letters(
        self, project_id: str = "", limit: int = 50, cursor: str = "", state: str = "",
        fingerprint: str = "",
    ) -> Page[DeadLetter]:  # fmt: skip
        """Dead letters, newest first. Raises NotFound (the project)."""
        where = project_path(project_id) if project_id else API
        page = self._get(
            f"{where}/dead-letters", limit=limit, cursor=cursor, state=state,
            fingerprint=fingerprint,
        )  # fmt: skip
        letters = tuple(map(dead_letter_from_json, page["dead_letters"]))
        return Page(letters, page["next_cursor"] or "")

    def get_dead_letter(self, letter_id: int) -> DeadLetter:
        """One dead letter, with all that is kept of its body. Raises NotFound."""
        return dead_letter_from_json(self._get(f"{trail.LETTERS}/{letter_id}"))

    def list_dead_letter_groups(
        self, project_id: str = "", state: str = "", limit: int = 50, cursor: str = ""
    ) -> Page[LetterGroup]:
        """Groups of dead letters of one cause, the one with the newest letter first."""
        page = self._get(trail.GROUPS, project=project_id, state=state, limit=limit, cursor=cursor)
        groups = tuple(map(trail.group_from_json, page["groups"]))
        return Page(groups, page["next_cursor"] or "")

    def replay_dead_letter(
        self, letter_id: int, reason: str, *, dry_run: bool = False
    ) -> DeadLetter:
        """Send one letter on its way again. Raises NotFound, IllegalTransition."""
        return self._settle(letter_id, "replay", reason, dry_run)

    def discard_dead_letter(
        self, letter_id: int, reason: str, *, dry_run: bool = False
    ) -> DeadLetter:
        """Give one letter up. Raises NotFound, IllegalTransition."""
        return self._settle(letter_id, "discard", reason, dry_run)

    def _settle(self, letter_id: int, what: str, reason: str, dry_run: bool) -> DeadLetter:
        path = f"{trail.LETTERS}/{letter_id}/{what}"
        answer = self._post(path, {"reason": reason, "dry_run": dry_run}, "")
        return dead_letter_from_json(answer.json())

    def replay_dead_letter_group(
        self, fingerprint: str, reason: str, *, dry_run: bool = False, rate_per_s: float = 0.0,
        canary: bool = False,
    ) -> GroupReplay:  # fmt: skip
        """Begin the replay of a group. Raises Conflict while another one of it runs."""
        asked: dict[str, Any] = {"reason": reason, "dry_run": dry_run, "canary": canary}
        if rate_per_s:
            asked["rate_per_s"] = rate_per_s
        answer = self._post(f"{trail.GROUPS}/{fingerprint}/replay", asked, "").json()
        begun = trail.replay_from_json(answer["replay"]) if answer["replay"] else None
        return GroupReplay(answer["matching"], begun)

    def discard_dead_letter_group(
        self, fingerprint: str, reason: str, *, dry_run: bool = False
    ) -> tuple[int, int]:
        """Give up a group: how many of its letters were open, and how many are discarded."""
        asked = {"reason": reason, "dry_run": dry_run}
        answer = self._post(f"{trail.GROUPS}/{fingerprint}/discard", asked, "").json()
        return answer["matching"], answer["discarded"]

    def list_replays(
        self, fingerprint: str = "", limit: int = 50, cursor: str = ""
    ) -> Page[Replay]:
        """Replays of groups, newest first."""
        page = self._get(trail.REPLAYS, fingerprint=fingerprint, limit=limit, cursor=cursor)
        replays = tuple(map(trail.replay_from_json, page["replays"]))
        return Page(replays, page["next_cursor"] or "")

    def list_audit(
        self, target: str = "", action: str = "", limit: int = 50, cursor: str = ""
    ) -> Page[AuditLine]:
        """The audit trail, newest first."""
        page = self._get(trail.AUDIT, target=target, action=action, limit=limit, cursor=cursor)
        return Page(
            tuple(map(trail.audit_line_from_json, page["lines"])), page["next_cursor"] or ""
        )
