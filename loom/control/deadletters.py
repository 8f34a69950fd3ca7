"""The routes of dead letters: messages that nobody could handle, with the reason."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from loom.clients.representation import dead_letter_to_json
from loom.control.ledger import Ledger
from loom.control.models import DeadLetterQuery, read_query
from loom.control.problem import Fault, InvalidFields
from loom.control.projects import known_form


def routes(ledger: Ledger) -> Blueprint:
    """List dead letters, of all or of one project."""
    letters = Blueprint("dead_letters", __name__)

    @letters.get("/dead-letters")
    def list_all() -> Response:
        return _list("")

    @letters.get("/projects/<project_id>/dead-letters")
    def list_of_project(project_id: str) -> Response:
        return _list(known_form(project_id))

    def _list(project_id: str) -> Response:
        query = read_query(DeadLetterQuery, request.args.to_dict(flat=False))
        if project_id and query.project:
            raise InvalidFields([Fault("project", "the path names the project already")])
        page = ledger.list_dead_letters(
            project_id or query.project or "", query.limit, query.cursor
        )
        if project_id and not page.items:
            # Raises NotFound where the list is empty because there is no such project.
            ledger.get_project(project_id)
        return jsonify(
            {
                "dead_letters": [dead_letter_to_json(letter) for letter in page.items],
                "next_cursor": page.next_cursor or None,
            }
        )

    return letters
