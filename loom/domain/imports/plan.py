"""What an import would do: decided on what the file says and what the ledger holds, before any I/O.

An import brings in what the source has changed since the last one. What was changed here stays; a
field that both have changed is a conflict, and then nothing of that issue is taken over.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from loom.domain.bead import MAX_BLOCKERS, Bead
from loom.domain.blockers import find_cycle
from loom.domain.identity import check_bead_id
from loom.domain.imports.difference import View
from loom.domain.imports.issue import (
    Issue,
    Origin,
    Said,
    Source,
    Where,
    held_reason,
    reason,
    settled,
)
from loom.domain.imports.reading import read, write
from loom.domain.lifecycle import Resolution, State
from loom.errors import Invalid

MAX_CIRCLES = 200
CIRCLE = "since these would wait for each other for ever"
"""What a remark on a circle says."""
_SLUG = re.compile(r"[^a-z0-9_-]+")


class Action(StrEnum):
    """What becomes of one issue."""

    CREATE = "create"
    UPDATE = "update"
    SAME = "same"
    """Nothing changes."""
    CONFLICT = "conflict"
    """Nothing changes, and a person has to decide."""
    SKIP = "skip"
    """It was deleted there, or is no issue."""
    INVALID = "invalid"
    """It breaks a rule."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of the issue on a line. changes: of what. remarks: what a person should know."""

    line: int
    action: Action
    external_id: str = ""
    bead_id: str = ""
    title: str = ""
    changes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class New:
    """A bead that is to be made, with its place in the lifecycle."""

    issue: Issue
    origin: Origin
    state: State
    resolution: Resolution | None
    reason: str
    blocked_by: tuple[str, ...]
    parent: str


@dataclass(frozen=True, slots=True)
class Change:
    """What of a bead is to be as it says from now on.

    bead: with its new words and links. ends, starts: it is closed as recorded, or may run.
    """

    bead: Bead
    origin: Origin
    words: bool = False
    ends: str = ""
    starts: bool = False
    comments: tuple[Said, ...] = ()


@dataclass(frozen=True, slots=True)
class Here:
    """What the ledger holds of what a file names.

    origins: by the source's ids; views: by the ids of beads, of those and of all that the file may
    mean. links: who waits for whom, as far as the beads reach; not needed where the file makes no
    new ones.
    """

    project_id: str
    origins: Mapping[str, Origin] = field(default_factory=dict)
    views: Mapping[str, View] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """All that an import does, and what it says of each line."""

    verdicts: tuple[Verdict, ...] = ()
    new: tuple[New, ...] = ()
    changed: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """An issue on a line, or what is wrong there."""

    line: int
    issue: Issue | None = None
    fault: str = ""


def candidates(project_id: str, issue: Issue) -> Iterator[str]:
    """Ids that the bead of an issue may have, the best first: the source's own, if it has the form.

    Ids are one space for all projects, so another project's bead may have taken it.
    """
    slug = _SLUG.sub("-", issue.id.lower()).strip("-")[:35]
    digest = hashlib.sha256(issue.id.encode()).hexdigest()[:12]
    own = [] if issue.source is Source.GITHUB and issue.id.isdigit() else [issue.id]
    named = f"gh-{issue.id}" if not own else slug
    for name in (*own, f"{project_id}-{named}", f"{project_id}-{issue.source.value}-{digest}"):
        try:
            yield check_bead_id(name)
        except Invalid:
            continue


def missing(ref: str) -> str:
    """What is said of an id that nobody has."""
    return (
        f"it names {ref}, which is neither in the file nor here: import that one too, and they "
        "are linked then"
    )


def plan(asked: Sequence[Asked], here: Here, *, run: bool) -> Plan:
    """What is to be done. run: what is ready in the source may run at once."""
    return _Planning(here, run=run).decide(asked)


class _Planning:
    """One import, while it is planned."""

    def __init__(self, here: Here, *, run: bool) -> None:
        self._here = here
        self._run = run
        self._ids = {name: origin.bead_id for name, origin in here.origins.items()}
        self._verdicts: dict[int, Verdict] = {}
        self._new: list[tuple[Asked, Issue, str]] = []
        self._old: list[tuple[Asked, Issue, Origin]] = []

    def decide(self, asked: Sequence[Asked]) -> Plan:
        seen: dict[str, int] = {}
        for each in asked:
            issue = each.issue
            if issue is None:
                self._say(each.line, Action.INVALID, remarks=(each.fault,))
            elif issue.where is Where.GONE:
                self._of(each.line, issue, Action.SKIP, remarks=(_gone(issue),))
            elif issue.id in seen:
                fault = f"line {seen[issue.id]} has {issue.id} already"
                self._of(each.line, issue, Action.INVALID, remarks=(fault,))
            else:
                seen[issue.id] = each.line
                self._sort(each, issue)
        links = _Links(self._here, self._ids, self._new, self._old)
        new = tuple(self._make(*each, links) for each in self._new)
        changed = [
            change for each in self._old if (change := self._change(*each, links)) is not None
        ]
        changed += self._linked_now({issue.id for _, issue, _ in self._old}, links)
        order = sorted(self._verdicts.items())
        return Plan(tuple(verdict for _, verdict in order), new, tuple(changed))

    def _say(self, line: int, action: Action, **more: Any) -> None:
        self._verdicts[line] = Verdict(line, action, **more)

    def _of(self, line: int, issue: Issue, action: Action, **more: Any) -> None:
        self._say(line, action, external_id=issue.id, title=issue.title, **more)

    def _sort(self, each: Asked, issue: Issue) -> None:
        """Whether an issue is new, was imported, or is a bead that was filed here."""
        origin = self._here.origins.get(issue.id)
        if origin is not None:
            self._old.append((each, issue, origin))
            return
        own = self._here.views.get(issue.id)
        if own is not None and own.bead.project_id == self._here.project_id:
            self._ids[issue.id] = own.bead.id
            if _says(issue, own):
                self._of(each.line, issue, Action.SAME, bead_id=own.bead.id)
                return
            came = f"came from {own.origin.source.value}" if own.origin else "was filed here"
            self._of(
                each.line, issue, Action.CONFLICT, bead_id=own.bead.id,
                remarks=(
                    f"bead {own.bead.id} {came} and is not as this says: change it here, or give "
                    "the issue another id",
                ),
            )  # fmt: skip
            return
        taken = set(self._ids.values()) | set(self._here.views)
        for bead_id in candidates(self._here.project_id, issue):
            if bead_id not in taken:
                self._ids[issue.id] = bead_id
                self._new.append((each, issue, bead_id))
                return
        self._of(
            each.line, issue, Action.INVALID,
            remarks=(f"every id that its bead could have is taken: rename {issue.id}",),
        )  # fmt: skip

    def _make(self, each: Asked, issue: Issue, bead_id: str, links: _Links) -> New:
        blocked_by, parent, pending = links.of(issue)
        # What waits for something that nobody knows here is not let go by itself.
        state, resolution = settled(issue.where, run=self._run and not pending)
        why = _waiting(issue, pending) or reason(issue)
        self._of(
            each.line, issue, Action.CREATE, bead_id=bead_id,
            remarks=(*issue.others, *links.remarks.get(issue.id, ())),
        )  # fmt: skip
        return New(
            issue=issue,
            origin=Origin(
                bead_id, self._here.project_id, issue.source, issue.id, issue.record, pending
            ),
            state=state,
            resolution=resolution,
            reason="" if state is State.OPEN else why,
            blocked_by=blocked_by,
            parent=parent,
        )

    def _change(self, each: Asked, issue: Issue, origin: Origin, links: _Links) -> Change | None:
        view = self._here.views[origin.bead_id]
        merged = _Merged(view, issue, origin, links, run=self._run)
        remarks = (*merged.remarks, *links.remarks.get(issue.id, ()))
        if merged.conflicts:
            self._of(
                each.line, issue, Action.CONFLICT, bead_id=origin.bead_id,
                changes=merged.changes, remarks=(*merged.conflicts, *remarks),
            )  # fmt: skip
            return None
        if not merged.changes:
            self._of(each.line, issue, Action.SAME, bead_id=origin.bead_id, remarks=remarks)
            return None
        self._of(
            each.line, issue, Action.UPDATE, bead_id=origin.bead_id, changes=merged.changes,
            remarks=remarks,
        )  # fmt: skip
        return merged.change()

    def _linked_now(self, asked: set[str], links: _Links) -> Iterator[Change]:
        """Beads of earlier imports that waited for one of this file to come."""
        for origin in self._here.origins.values():
            if origin.external_id in asked or not set(origin.pending) & links.named:
                continue
            issue = read(origin.source, origin.record)
            view = self._here.views[origin.bead_id]
            merged = _Merged(view, issue, origin, links, run=self._run)
            if merged.changes and not merged.conflicts:
                yield merged.change()


class _Links:
    """What the issues wait for, as beads; without what is missing and what closes a circle."""

    def __init__(
        self, here: Here, ids: Mapping[str, str], new: Iterable[tuple[Asked, Issue, str]],
        old: Iterable[tuple[Asked, Issue, Origin]],
    ) -> None:  # fmt: skip
        self.remarks: dict[str, tuple[str, ...]] = {}
        self.named = {issue.id for _, issue, _ in new}
        self._here = here
        self._ids = ids
        self._left: dict[str, set[str]] = {}
        waits_for: dict[str, list[str]] = {}
        for waiting, blocker in here.links:
            waits_for.setdefault(waiting, []).append(blocker)
        known = set(here.links) | set(_links_of(here.views.values()))
        added: list[tuple[str, str, str, str]] = []
        issues = [(issue, bead_id) for _, issue, bead_id in new]
        issues += [(issue, origin.bead_id) for _, issue, origin in old]
        asked = {issue.id for issue, _ in issues}
        # Those of earlier imports whose missing ones have come.
        issues += [
            (read(origin.source, origin.record), origin.bead_id)
            for origin in here.origins.values()
            if origin.external_id not in asked and set(origin.pending) & self.named
        ]
        ended = {issue.id for issue, _ in issues if issue.where is Where.DONE}
        for issue, bead_id in issues:
            links = [(ref, False) for ref in issue.blocked_by]
            links += [(issue.parent, True)] if issue.parent else []
            for ref, up in links:
                other = self._bead(ref)
                if other is None or other == bead_id:
                    self._leave(issue, ref, unknown=other is None)
                elif not ended & {issue.id, ref} and not self._ended(other):
                    pair = (other, bead_id) if up else (bead_id, other)
                    if pair not in known:
                        added.append((*pair, issue.id, ref))
        self._open_circles(issues, added, waits_for)

    def _bead(self, ref: str) -> str | None:
        """The bead that an id of the source means."""
        if ref in self._ids:
            return self._ids[ref]
        view = self._here.views.get(ref)
        here = view is not None and view.bead.project_id == self._here.project_id
        return ref if here else None

    def _ended(self, bead_id: str) -> bool:
        view = self._here.views.get(bead_id)
        return view is not None and view.bead.state is State.CLOSED

    def _leave(self, issue: Issue, ref: str, *, unknown: bool) -> None:
        self._left.setdefault(issue.id, set()).add(ref)
        alone = f"it would wait for itself ({ref}): that link is left out"
        why = missing(ref) if unknown else alone
        self.remarks[issue.id] = (*self.remarks.get(issue.id, ()), why)

    def _open_circles(
        self, issues: Sequence[tuple[Issue, str]], added: Sequence[tuple[str, str, str, str]],
        waits_for: dict[str, list[str]],
    ) -> None:  # fmt: skip
        """Take the new links in their order; each that would close a circle is left out."""
        whole = {waiting: list(others) for waiting, others in waits_for.items()}
        for waiting, blocker, *_ in added:
            whole.setdefault(waiting, []).append(blocker)
        if not find_cycle(whole, [waiting for waiting, *_ in added]):
            return
        names = {bead_id: issue.id for issue, bead_id in issues}
        left = 0
        for waiting, blocker, of, ref in added:
            path = _path(waits_for, blocker, waiting)
            if not path:
                waits_for.setdefault(waiting, []).append(blocker)
                continue
            left += 1
            if left > MAX_CIRCLES:
                raise Invalid(
                    f"more than {MAX_CIRCLES} links close circles of issues that wait for each "
                    "other: mend them first",
                    field="records",
                )
            self._left.setdefault(of, set()).add(ref)
            told = " -> ".join(names.get(each, each) for each in (waiting, *path))
            self.remarks[of] = (
                *self.remarks.get(of, ()),
                f"its link with {ref} is left out, {CIRCLE}: {told}. Take one link out of the "
                "circle in the source, and import again",
            )

    def of(self, issue: Issue) -> tuple[tuple[str, ...], str, tuple[str, ...]]:
        """The beads that block it, its parent, and the ids that are left out."""
        left = self._left.get(issue.id, set())
        blocked_by = tuple(
            dict.fromkeys(self._ids.get(ref, ref) for ref in issue.blocked_by if ref not in left)
        )
        parent = issue.parent if issue.parent not in left else ""
        pending = tuple(dict.fromkeys(ref for ref in issue.refs if ref in left))
        return blocked_by[:MAX_BLOCKERS], self._ids.get(parent, parent), pending


def _links_of(views: Iterable[View]) -> Iterator[tuple[str, str]]:
    """Who waits for whom, as these beads say themselves."""
    for view in views:
        yield from ((view.bead.id, blocker) for blocker in view.bead.blocked_by)
        if view.bead.parent:
            yield view.bead.parent, view.bead.id


def _path(waits_for: Mapping[str, Sequence[str]], begin: str, end: str) -> tuple[str, ...]:
    """A way from one bead to another along what each waits for; empty: there is none."""
    came: dict[str, str] = {begin: ""}
    ahead = [begin]
    while ahead:
        bead = ahead.pop()
        if bead == end:
            path = [bead]
            while came[path[-1]]:
                path.append(came[path[-1]])
            return tuple(reversed(path))
        for other in waits_for.get(bead, ()):
            if other not in came:
                came[other] = bead
                ahead.append(other)
    return ()


class _Merged:
    """A bead, what its source said at the last import, and what it says now."""

    def __init__(
        self, view: View, issue: Issue, origin: Origin, links: _Links, *, run: bool
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
        same = issue.record == origin.record or _says(issue, view)
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

    def _links(self, links: _Links, *, same: bool) -> None:
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
        why = _waiting(self._issue, self._pending) or reason(self._issue)
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


def _says(issue: Issue, view: View) -> bool:
    """Whether the issue is what an export of the bead would be."""
    return read(issue.source, write(issue.source, view)).record == issue.record


def _gone(issue: Issue) -> str:
    if issue.status == "tombstone":
        return "it was deleted there"
    return "it is no issue"


def _waiting(issue: Issue, pending: Sequence[str]) -> str:
    """Why the bead of an issue waits that names what is not here."""
    if issue.where is Where.READY and pending:
        names = ", ".join(pending[:5])
        return f"{held_reason(issue.source)}it is linked with {names}, which this one is not here"
    return ""
