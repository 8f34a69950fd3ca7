"""The pages of what happened: events as Loom tells them, and the trail of what people did."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from loom.control import visible
from loom.control.operation import Within, operation
from loom.control.pages import frame
from loom.control.pages.desk import Desk
from loom.domain.event import TYPES, EventFilter, Place
from loom.domain.identity import BEAD_ID
from loom.errors import Invalid

ROWS = 100
FAMILIES = tuple(dict.fromkeys(type_.partition(".")[0] for type_ in TYPES))
"""What events begin with: bead, project, …"""
ACTS = {
    "access": "user.*,token.*,session.*,login.*",
    "beads": "bead.*",
    "projects": "project.*",
    "agents": "agent.*",
    "dead letters": "dead_letter.*,dead_letters.*",
    "webhooks": "webhook.*",
}
"""What people do, by what they do it to. access: who may come in, and who came."""
_WORDS = re.compile(r"[a-zA-Z0-9._@:*-]{1,200}")


def routes(desk: Desk) -> Blueprint:
    """Show events, and the audit trail."""
    pages = Blueprint("record_pages", __name__)

    @pages.get("/events")
    @operation("The page of events", page=True, within=Within.SOME)
    def events() -> Response:
        projects = frame.mine(desk.projects())
        chosen = _chosen("project", "kind", "bead")
        page = desk.ledger.list_events(
            _wanted(chosen),
            _place(request.args.get("cursor", "")),
            ROWS,
            newest_first=True,
        )
        return frame.page(
            "events.html",
            events=page.events,
            projects=projects,
            families=FAMILIES,
            chosen=chosen,
            next_path=_path("/events", chosen, str(page.place)) if page.more else "",
            first_path=_path("/events", chosen) if request.args.get("cursor") else "",
        )

    @pages.get("/audit")
    @operation("The page of the audit trail", page=True, within=Within.ALL)
    def audit() -> Response:
        chosen = _chosen("target", "action") | {"of": request.args.get("of", "")}
        chosen["of"] = chosen["of"] if chosen["of"] in ACTS else ""
        cursor = request.args.get("cursor", "")
        action = chosen["action"] or ACTS.get(chosen["of"], "")
        page = desk.ledger.list_audit(chosen["target"], action, ROWS, cursor)
        return frame.page(
            "audit.html",
            lines=page.items,
            acts=tuple(ACTS),
            chosen=chosen,
            next_path=_path("/audit", chosen, page.next_cursor) if page.next_cursor else "",
            first_path=_path("/audit", chosen) if cursor else "",
        )

    return pages


def _chosen(*names: str) -> dict[str, str]:
    """The filters in the address; what no filter can be filters nothing."""
    given = {name: request.args.get(name, "").strip() for name in names}
    return {name: text if _WORDS.fullmatch(text) else "" for name, text in given.items()}


def _wanted(chosen: Mapping[str, str]) -> EventFilter:
    """The filter in the address. Raises NotFound for a project that is not theirs to see."""
    projects = visible.scope(chosen["project"])
    bead = chosen["bead"] if BEAD_ID.fullmatch(chosen["bead"]) else ""
    types = (f"{chosen['kind']}.*",) if chosen["kind"] in FAMILIES else ()
    return EventFilter(projects=frozenset(projects) or None, bead_id=bead, types=types)


def _place(text: str) -> Place | None:
    """Where to go on; a slip in it leads to the newest."""
    try:
        return Place.parse(text) if text else None
    except Invalid:
        return None


def _path(here: str, chosen: Mapping[str, str], cursor: str = "") -> str:
    given = {name: value for name, value in {**chosen, "cursor": cursor}.items() if value}
    return f"{here}?{urlencode(given)}" if given else here
