"""The links of a file's issues, as links of beads: without what is missing or closes a circle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from loom.domain.bead import MAX_BLOCKERS
from loom.domain.blockers import find_cycle
from loom.domain.imports.difference import View
from loom.domain.imports.issue import Issue, Origin, Where
from loom.domain.imports.reading import read
from loom.domain.imports.verdict import Asked, Here
from loom.domain.lifecycle import State
from loom.errors import Invalid

MAX_CIRCLES = 200
CIRCLE = "since these would wait for each other for ever"
"""What a remark on a circle says."""


def missing(ref: str) -> str:
    """What is said of an id that nobody has."""
    return (
        f"it names {ref}, which is neither in the file nor here: import that one too, and they "
        "are linked then"
    )


class Links:
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
