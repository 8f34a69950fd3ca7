"""What an import would do: decided on what the file says and what the ledger holds, before any I/O.

An import brings in what the source has changed since the last one. What was changed here stays; a
field that both have changed is a conflict, and then nothing of that issue is taken over.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from loom.domain.identity import check_bead_id
from loom.domain.imports.issue import Issue, Origin, Source, Where, reason, settled
from loom.domain.imports.linking import Links
from loom.domain.imports.merging import Merged, says, waiting
from loom.domain.imports.reading import read
from loom.domain.imports.verdict import Action, Asked, Change, Here, New, Plan, Verdict
from loom.domain.lifecycle import State
from loom.errors import Invalid

_SLUG = re.compile(r"[^a-z0-9_-]+")


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
        links = Links(self._here, self._ids, self._new, self._old)
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
            if says(issue, own):
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

    def _make(self, each: Asked, issue: Issue, bead_id: str, links: Links) -> New:
        blocked_by, parent, pending = links.of(issue)
        # What waits for something that nobody knows here is not let go by itself.
        state, resolution = settled(issue.where, run=self._run and not pending)
        why = waiting(issue, pending) or reason(issue)
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

    def _change(self, each: Asked, issue: Issue, origin: Origin, links: Links) -> Change | None:
        view = self._here.views[origin.bead_id]
        merged = Merged(view, issue, origin, links, run=self._run)
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

    def _linked_now(self, asked: set[str], links: Links) -> Iterator[Change]:
        """Beads of earlier imports that waited for one of this file to come."""
        for origin in self._here.origins.values():
            if origin.external_id in asked or not set(origin.pending) & links.named:
                continue
            issue = read(origin.source, origin.record)
            view = self._here.views[origin.bead_id]
            merged = Merged(view, issue, origin, links, run=self._run)
            if merged.changes and not merged.conflicts:
                yield merged.change()


def _gone(issue: Issue) -> str:
    if issue.status == "tombstone":
        return "it was deleted there"
    return "it is no issue"
