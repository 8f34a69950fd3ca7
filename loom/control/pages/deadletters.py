"""The pages of dead letters: their causes, the letters of each, and the ways out for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from loom.control import visible
from loom.control.operation import Within, operation
from loom.control.pages import frame
from loom.control.pages.desk import Desk
from loom.domain.replay import DEFAULT_RATE, MAX_RATE, LetterGroup, LetterState, Replay
from loom.errors import NotFound
from loom.messaging.deadletter import DeadLetter

GROUPS, LETTERS, REPLAYS = 50, 50, 50
MAX_SHOWN = 64 * 1024
"""Characters of a letter's body that its page shows."""
MAX_ID = 2**63 - 1


def routes(desk: Desk) -> Blueprint:
    """Show the causes of dead letters, one of them, and a letter."""
    letters = Blueprint("dead_letter_pages", __name__)

    @letters.get("/dead-letters")
    @operation("The page of dead letters", page=True, within=Within.SOME)
    def index() -> Response:
        projects = frame.mine(desk.projects())
        chosen = {
            "project": _one_of(request.args.get("project", ""), [p.id for p in projects]),
            "state": _one_of(request.args.get("state", ""), [*LetterState]),
        }
        cursor = request.args.get("cursor", "")
        page = desk.ledger.list_dead_letter_groups(
            chosen["project"], chosen["state"], GROUPS, cursor, project_ids=visible.scope()
        )
        given = {name: value for name, value in chosen.items() if value}
        return frame.page(
            "dead_letters.html",
            groups=page.items,
            going={each.fingerprint: each for each in _replays() if each.ended_at is None},
            projects=projects,
            states=tuple(LetterState),
            chosen=chosen,
            next_path=_path(given | {"cursor": page.next_cursor}) if page.next_cursor else "",
            first_path=_path(given) if cursor else "",
        )

    @letters.get("/dead-letters/groups/<fingerprint>")
    @operation("The page of a cause of dead letters", page=True, within=Within.GROUP)
    def group(fingerprint: str) -> Response:
        cursor = request.args.get("cursor", "")
        page = desk.ledger.list_dead_letters("", LETTERS, cursor, "", fingerprint)
        newest = page.items or desk.ledger.list_dead_letters("", 1, "", "", fingerprint).items
        if not newest:
            raise NotFound(f"there is no group of dead letters {fingerprint[:80]}")
        here = f"/dead-letters/groups/{fingerprint}"
        following = urlencode({"cursor": page.next_cursor}) if page.next_cursor else ""
        return frame.page(
            "dead_letter_group.html",
            newest=newest[0],
            group=_group(newest[0]),
            letters=page.items,
            replays=_replays(fingerprint),
            rate=DEFAULT_RATE,
            max_rate=MAX_RATE,
            next_path=f"{here}?{following}" if following else "",
            first_path=here if cursor else "",
        )

    @letters.get("/dead-letters/<int:letter_id>")
    @operation("The page of a dead letter", page=True, within=Within.LETTER)
    def show(letter_id: int) -> Response:
        letter = desk.ledger.get_dead_letter(min(letter_id, MAX_ID))
        return frame.page(
            "dead_letter.html",
            letter=letter,
            body=body_text(letter.body)[:MAX_SHOWN],
            headers=_object(letter.headers),
            deaths=_list(letter.deaths),
        )

    def _group(letter: DeadLetter) -> LetterGroup | None:
        """The letter's group, if it is among the newest of its project."""
        page = desk.ledger.list_dead_letter_groups(letter.project_id, "", GROUPS)
        return next((g for g in page.items if g.fingerprint == letter.fingerprint), None)

    def _replays(fingerprint: str = "") -> tuple[Replay, ...]:
        """The newest replays: of one group, or of all for whoever may see every project."""
        if not fingerprint and visible.scope():
            return ()
        return tuple(desk.ledger.list_replays(fingerprint, REPLAYS).items)

    return letters


def body_text(body: bytes) -> str:
    """A body as people read it: JSON with its lines, text as it is, and bytes as their numbers."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return body[: MAX_SHOWN // 3].hex(" ")
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _object(text: str) -> Mapping[str, Any]:
    """The headers of a letter, each as text."""
    found = json.loads(text or "{}")
    if not isinstance(found, dict):
        return {}
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in found.items()
        if name != "x-death"
    }


def _list(text: str) -> list[Mapping[str, Any]]:
    """The broker's history of a letter, the newest death first."""
    found = json.loads(text or "[]")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _one_of(text: str, known: list[str]) -> str:
    return text if text in known else ""


def _path(query: Mapping[str, str]) -> str:
    return f"/dead-letters?{urlencode(query)}" if query else "/dead-letters"
