"""Events: every change of state that Loom tells of, where each stands, and who wants which."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from loom.errors import Invalid

MAX_PATTERNS = 20
PATTERN = re.compile(r"\*|[a-z_]{1,40}\.(?:\*|[a-z_]{1,40})")
"""Of the types that somebody wants: `*`, `bead.*` or `bead.closed`."""

TYPES: Mapping[str, str] = {
    "project.created": "name, repository",
    "project.changed": "the settings that changed, as they are now; version, by",
    "bead.created": "title, priority, state",
    "bead.claimed": "state, epoch, attempt: an agent works on it",
    "bead.closed": "state, epoch, attempt, reason, resolution (succeeded, failed or cancelled), "
    "commits and filed (beads that it asked for) where there are some",
    "bead.retried": "state, epoch, attempt, reason: another attempt is owed",
    "bead.blocked": "state, epoch, attempt, reason: a person has to look",
    "bead.unblocked": "state, epoch, attempt",
    "bead.edited": "by, version: its words, its priority or what it waits for",
    "bead.assigned": "by, version, assignee: a person has it, and no agent gets it",
    "bead.released": "by, version, assignee (who had it): the agents may have it again",
    "bead.reowed": "state, epoch, reason: its message was lost and is owed again",
    "attempt.progress": "agent_id, epoch, output",
    "attempt.ended": "epoch, outcome (succeeded, failed, lost, superseded or cancelled), "
    "failure_class, reason",
    "attempt.stale": "agent_id, epoch, detail: a report that came too late and changed nothing",
    "agent.registered": "agent_id, host, versions: a process has begun",
    "agent.stopped": "agent_id: it has said goodbye",
    "agent.lost": "agent_id, last_seen: it says nothing any more",
    "agent.returned": "agent_id: it was lost and speaks again",
    "agent.drained": "agent_id, by: it takes no more beads",
    "agent.resumed": "agent_id, by: it takes beads again",
    "agent.told_to_stop": "agent_id, by: it ends once its beads have",
    "dead_letter.recorded": "letter_id, queue, reason, fingerprint",
    "dead_letter.replayed": "letter_id, queue, reason, fingerprint, by",
    "dead_letter.discarded": "letter_id, queue, reason, fingerprint, by; of a whole group letters "
    "(how many) in place of letter_id",
    "comment.created": "comment_id, author, text (its beginning)",
    "webhook.created": "webhook_id, host, by",
    "webhook.changed": "webhook_id, host, by",
    "webhook.removed": "webhook_id, host, by",
    "webhook.disabled": "webhook_id, host, reason: it failed too often",
    "webhook.delivery_dead": "webhook_id, host, delivery_id, event_id, reason: nobody tries again",
}
"""Every type of event, and what its data say."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an event stands in the journal; whoever has read up to a place goes on after it.

    xid: of the transaction that wrote it. era: grows when the ledger is restored from a dump, as
    the numbers of transactions begin anew then.
    """

    era: int = 0
    xid: int = 0
    id: int = 0

    def __str__(self) -> str:
        return f"{self.era}-{self.xid}-{self.id}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """What str made. Raises Invalid."""
        parts = text.split("-")
        if len(parts) != 3 or not all(_NUMBER.fullmatch(part) for part in parts):
            raise Invalid(
                f"{text[:80]!r} is no place in the journal: pass on what an event or a list gave",
                field="cursor",
            )
        era, xid, id_ = map(int, parts)
        if max(era, xid, id_) >= 2**63:
            raise Invalid("there is no such place in the journal", field="cursor")
        return cls(era, xid, id_)


_NUMBER = re.compile(r"[0-9]{1,19}")
START = Place()
"""Before the first event."""


@dataclass(frozen=True, slots=True)
class EventLine:
    """One change of state, as the journal has it. id: the same wherever the event is told."""

    place: Place
    id: str
    type: str
    project_id: str
    bead_id: str
    epoch: int
    at: datetime
    data: Mapping[str, Any] = field(default_factory=dict)
    correlation_id: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Who wants which events. projects: None for all, and with them what belongs to none.

    types: patterns; none for all. since: at or after that moment; until: before it.
    """

    projects: frozenset[str] | None = None
    bead_id: str = ""
    types: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None

    def takes(self, event: EventLine) -> bool:
        """Whether the event is wanted."""
        return (
            (self.projects is None or event.project_id in self.projects)
            and self.bead_id in ("", event.bead_id)
            and wanted(event.type, self.types)
            and (self.since is None or event.at >= self.since)
            and (self.until is None or event.at < self.until)
        )


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some events. place: where to go on; more: whether there are some already."""

    events: tuple[EventLine, ...]
    place: Place
    more: bool = False


def wanted(type_: str, patterns: tuple[str, ...]) -> bool:
    """Whether a type is one that the patterns want; without patterns all are."""
    return not patterns or any(
        type_.startswith(pattern[:-1]) if pattern.endswith("*") else type_ == pattern
        for pattern in patterns
    )


def check_patterns(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Return patterns, or raise Invalid: one that fits no event is a mistake."""
    if len(patterns) > MAX_PATTERNS:
        raise Invalid(f"at most {MAX_PATTERNS} types can be named", field="type")
    for pattern in patterns:
        if not PATTERN.fullmatch(pattern) or not any(wanted(each, (pattern,)) for each in TYPES):
            raise Invalid(
                f"{pattern[:80]!r} is no type of event: name one, as bead.closed, or several, as "
                "bead.*; docs/events.md has them all",
                field="type",
            )
    return patterns


def check_filter(wants: EventFilter) -> EventFilter:
    """Return the filter, or raise Invalid."""
    check_patterns(wants.types)
    if "\0" in wants.bead_id + "".join(wants.projects or ()):
        raise Invalid("a filter has a NUL character", field="project")
    return wants
