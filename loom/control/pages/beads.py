"""The pages of many beads: the board, the table, and the form that files one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, redirect, request

from loom.control import visible
from loom.control.operation import Within, operation
from loom.control.pages import frame
from loom.control.pages.desk import Desk
from loom.domain.access import Role
from loom.domain.identity import BEAD_ID
from loom.domain.lifecycle import Resolution, State
from loom.domain.listing import MAX_TEXT, BeadFilter, BeadSort
from loom.errors import NotFound

CARDS, ROWS = 25, 50
COLUMNS = (State.OPEN, State.IN_PROGRESS, State.BLOCKED, State.CLOSED)
SORTS = {
    "Newest first": BeadSort.NEWEST,
    "Oldest first": BeadSort.OLDEST,
    "Changed last": BeadSort.LATEST,
    "Untouched longest": BeadSort.STALEST,
    "Most urgent": BeadSort.FIRST,
    "Least urgent": BeadSort.LAST,
}
FILTERS = ("project", "state", "resolution", "priority", "find")


def routes(desk: Desk) -> Blueprint:
    """Show beads, and take in a new one."""
    beads = Blueprint("bead_pages", __name__)

    @beads.get("/beads")
    @operation("The page of beads", page=True, within=Within.SOME)
    def index() -> Response:
        words = request.args.get("find", "").strip()
        if BEAD_ID.fullmatch(words) and _there(words):
            return _sent_on(f"/beads/{words}")
        where = _where(request.args)
        table = request.args.get("view") == "table" or bool(where.text or where.resolution)
        shown = _table(where) if table else _board(where)
        flow = desk.counted.flow(where.projects)
        projects = frame.mine(desk.projects())
        return frame.page(
            "beads.html",
            table=table,
            counts=flow.total(),
            projects=projects,
            steers=frame.may("operator") or any(frame.may("operator", p.id) for p in projects),
            api_query=_api_query(where, request.args.get("project", "")),
            chosen={name: request.args.get(name, "") for name in FILTERS},
            filtered=any(request.args.get(name) for name in FILTERS),
            sorts=SORTS,
            sort=_sort().value,
            at=_at,
            **shown,
        )

    @beads.get("/beads/new")
    @operation("The form that files a bead", page=True, needs=Role.OPERATOR, within=Within.SOME)
    def new() -> Response:
        projects = [p for p in frame.mine(desk.projects()) if frame.may("operator", p.id)]
        return frame.page(
            "bead_new.html", projects=projects, project=request.args.get("project", "")
        )

    def _there(bead_id: str) -> bool:
        try:
            desk.ledger.get_bead(bead_id)
        except NotFound:
            return False
        return True

    def _table(where: BeadFilter) -> dict[str, Any]:
        page = desk.ledger.list_beads(
            page_size=ROWS, cursor=request.args.get("cursor", ""), where=where, sort=_sort()
        )
        return {
            "beads": page.items,
            "next_path": _at(cursor=page.next_cursor) if page.next_cursor else "",
            "first_path": _at(cursor="") if request.args.get("cursor") else "",
        }

    def _board(where: BeadFilter) -> dict[str, Any]:
        columns = []
        for state in COLUMNS:
            if where.states and state.value not in where.states:
                continue
            # What ended is told by when it did, what waits by what comes first.
            sort = BeadSort.FIRST if state is State.OPEN else BeadSort.LATEST
            page = desk.cards(CARDS, replace(where, states=(state.value,)), sort)
            columns.append((state.value, page.items, bool(page.next_cursor)))
        return {"columns": columns}

    return beads


def _where(given: Mapping[str, str]) -> BeadFilter:
    """The filter in an address; what is no value of it filters nothing.

    Raises NotFound for a project that whoever looks may not see.
    """
    state, resolution = given.get("state", ""), given.get("resolution", "")
    priority = given.get("priority", "")
    return BeadFilter(
        projects=visible.scope(given.get("project", "")),
        states=(state,) if state in set(State) else (),
        resolution=resolution if resolution in set(Resolution) else "",
        priorities=(int(priority),) if priority in {"0", "1", "2", "3"} else (),
        text=given.get("find", "").strip().replace("\0", "")[:MAX_TEXT],
    )


def _api_query(where: BeadFilter, project: str) -> str:
    """The same filter as the API's list takes it."""
    words = {
        "project": project,
        "state": "".join(where.states),
        "resolution": where.resolution,
        "priority": "".join(map(str, where.priorities)),
        "q": where.text,
    }
    return urlencode({name: value for name, value in words.items() if value})


def _sort() -> BeadSort:
    named = request.args.get("sort", "")
    return BeadSort(named) if named in set(BeadSort) else BeadSort.NEWEST


def _at(**changed: str) -> str:
    """This page's address with other words; empty ones are left out."""
    words = {name: value for name, value in request.args.items() if name != "cursor"} | changed
    query = urlencode({name: value for name, value in words.items() if value})
    return request.path + (f"?{query}" if query else "")


def _sent_on(path: str) -> Response:
    answer = redirect(path)
    return Response(answer.get_data(), answer.status_code, answer.headers)
