"""A bead and its issue, where both may have changed since the last import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from loom.domain.bead import MAX_BLOCKERS, Bead
from loom.domain.imports.difference import View
from loom.domain.imports.issue import Issue, Origin, Said, Where, held_reason, reason
from loom.domain.imports.linking import Links
from loom.domain.imports.reading import read, write
from loom.domain.imports.verdict import Change
from loom.domain.lifecycle import Resolution, State


class Merged:
    """A bead, what its source said at the last import, and what it says now."""

    def __init__(
        self, view: View, issue: Issue, origin: Origin, links: Links, *, run: bool
    ) -> None:
        self._view, self._issue, self._origin = view, issue, origin
        self._before = read(origin.source, origin.record)
        self._bead = view.bead
        self.conflicts: list[str] = []
        self.remarks: list[str] = list(issue.others)
        self._changes: list[str] = []
        self._ends = ""
        self._starts = False
        self._comments: tuple[Said, ...] = ()
        self._pending = origin.pending
        same = issue.record == origin.record or says(issue, view)
        if not same:
            self._words()
            self._state()
            self._say()
        self._links(links, same=same)
        if run:
            self._let_go()
        self._tell()
        words = {"title", "description", "priority", "context", "not_before", "links"}
        touched = sorted(words & set(self._changes))
        worked = self._bead.state is State.IN_PROGRESS or (
            self._bead.state is State.CLOSED and self._bead.resolution is not Resolution.RECORDED
        )
        if touched and worked:
            self.conflicts.append(
                f"bead {self._bead.id} is {self._bead.state.value} here, and its "
                f"{', '.join(touched)} changed there: file what is left to do as a new bead"
            )
        self._same = same
        if not same and not self._changes:
            self._changes.append("details")

    @property
    def changes(self) -> tuple[str, ...]:
        """What changes, in words."""
        return tuple(self._changes)

    def change(self) -> Change:
        """What is to be written."""
        record = self._origin.record if self._same else self._issue.record
        words = {"title", "description", "priority", "context", "not_before", "links", "reason"}
        return Change(
            bead=self._bead,
            origin=replace(self._origin, record=record, pending=self._pending),
            words=bool(words & set(self._changes)),
            ends=self._ends,
            starts=self._starts,
            comments=self._comments,
        )

    def _words(self) -> None:
        for name in ("title", "description", "priority", "context", "not_before"):
            old, new = getattr(self._before, name), getattr(self._issue, name)
            mine = getattr(self._bead, name)
            if new in (old, mine):
                continue
            if mine == old:
                self._bead = _with(self._bead, name, new)
                self._changes.append(name)
            else:
                self.conflicts.append(
                    f"its {name} was changed here and there: make them alike, here or there"
                )

    def _state(self) -> None:
        bead, now, before = self._bead, self._issue.where, self._before.where
        if now is Where.DONE:
            if bead.state is State.CLOSED:
                return
            if bead.epoch or bead.state is State.IN_PROGRESS:
                self.conflicts.append(
                    f"it was closed there, and agents have worked at bead {bead.id}: let it end, "
                    "or cancel it, and import again"
                )
                return
            self._ends = reason(self._issue)
            self._changes.append("state")
        elif bead.state is State.CLOSED and before is Where.DONE:
            self.remarks.append(
                f"it was reopened there; a closed bead stays closed: `loom bead refile {bead.id}` "
                "files its work anew"
            )

    def _say(self) -> None:
        known = {said.mark for said, _ in self._view.said} | {
            each.mark for each in self._before.comments
        }
        self._comments = tuple(each for each in self._issue.comments if each.mark not in known)
        if self._comments:
            self._changes.append("comments")

    def _links(self, links: Links, *, same: bool) -> None:
        """Links that the source has gained or lost, and those whose other end has come."""
        issue = self._issue if not same else self._before
        wanted, parent, pending = links.of(issue)
        come = {ref for ref in self._origin.pending if ref not in pending and ref in issue.refs}
        gained = set(issue.blocked_by) - set(self._before.blocked_by) | come
        lost = set(self._before.blocked_by) - set(issue.blocked_by)
        names = {self._view.name(each, issue.source): each for each in self._bead.blocked_by}
        keep = [each for name, each in names.items() if name not in lost]
        more, _, _ = links.of(
            replace(issue, blocked_by=tuple(r for r in issue.blocked_by if r in gained))
        )
        blocked_by = tuple(dict.fromkeys((*keep, *(each for each in more if each in wanted))))
        mine = self._bead.parent
        if issue.parent != self._before.parent or issue.parent in come:
            mine = parent
        self._pending = pending
        if (blocked_by, mine) != (self._bead.blocked_by, self._bead.parent):
            self._bead = replace(self._bead, blocked_by=blocked_by[:MAX_BLOCKERS], parent=mine)
            self._changes.append("links")

    def _let_go(self) -> None:
        ready = self._issue.where is Where.READY and not self._ends and not self._pending
        if ready and self._held:
            self._starts = True
            self._changes.append("state")

    def _tell(self) -> None:
        """Why it is still held, as the source says now."""
        if not self._held or self._starts or self._ends:
            return
        why = waiting(self._issue, self._pending) or reason(self._issue)
        if why != self._bead.reason:
            self._bead = replace(self._bead, reason=why)
            self._changes.append("reason")

    @property
    def _held(self) -> bool:
        """Whether the import alone keeps it from running."""
        bead = self._view.bead
        return (
            bead.state is State.BLOCKED
            and not bead.epoch
            and bead.reason.startswith(held_reason(self._issue.source))
        )


def _with(bead: Bead, name: str, value: str | int | Mapping[str, Any] | datetime | None) -> Bead:
    return replace(bead, **{name: value})  # type: ignore[arg-type]


def says(issue: Issue, view: View) -> bool:
    """Whether the issue is what an export of the bead would be."""
    return read(issue.source, write(issue.source, view)).record == issue.record


def waiting(issue: Issue, pending: Sequence[str]) -> str:
    """Why the bead of an issue waits that names what is not here."""
    if issue.where is Where.READY and pending:
        names = ", ".join(pending[:5])
        return f"{held_reason(issue.source)}it is linked with {names}, which this one is not here"
    return ""
