"""The routes of dead letters: messages that nobody could handle, and the ways out for them."""

from __future__ import annotations

from typing import Protocol

from flask import Blueprint, Response, jsonify, request

from loom.clients.representation import dead_letter_to_json
from loom.clients.trail import group_to_json, replay_to_json
from loom.control import steering
from loom.control.answers.deadletters import (
    GroupDiscardOut,
    GroupPageOut,
    GroupReplayOut,
    LetterOut,
    LetterPageOut,
    ReplayPageOut,
)
from loom.control.operation import Within, operation
from loom.control.problem import Fault, InvalidFields
from loom.control.projects import known_form
from loom.control.requests.reading import read_query
from loom.control.requests.steering import (
    GroupQuery,
    LetterQuery,
    ReplayIn,
    ReplayQuery,
    SettleIn,
)
from loom.control.steering import Steering
from loom.domain.access import Role
from loom.domain.project import Project
from loom.telemetry import logs

log = logs.get(__name__)


class Ledger(Steering, Protocol):
    """What dead letters need of the ledger."""

    def get_project(self, project_id: str) -> Project:
        """One project."""


def routes(ledger: Ledger) -> Blueprint:
    """List dead letters and their groups; show, replay and discard them."""
    letters = Blueprint("dead_letters", __name__)

    @letters.get("/dead-letters")
    @operation("List dead letters, newest first", query=LetterQuery, answers={200: LetterPageOut})
    def list_all() -> Response:
        return _list("")

    @letters.get("/projects/<project_id>/dead-letters")
    @operation(
        "List the dead letters of a project, newest first", within=Within.PROJECT,
        query=LetterQuery, answers={200: LetterPageOut},
    )  # fmt: skip
    def list_of_project(project_id: str) -> Response:
        return _list(known_form(project_id))

    def _list(project_id: str) -> Response:
        query = read_query(LetterQuery, request.args.to_dict(flat=False))
        if project_id and query.project:
            raise InvalidFields([Fault("project", "the path names the project already")])
        page = ledger.list_dead_letters(
            project_id or query.project or "", query.limit, query.cursor,
            query.state.value if query.state else "", query.fingerprint,
        )  # fmt: skip
        if project_id and not page.items:
            # Raises NotFound where the list is empty because there is no such project.
            ledger.get_project(project_id)
        return jsonify(
            {
                "dead_letters": [dead_letter_to_json(letter) for letter in page.items],
                "next_cursor": page.next_cursor or None,
            }
        )

    @letters.get("/dead-letters/groups")
    @operation(
        "List dead letters by their causes, the newest first", query=GroupQuery,
        answers={200: GroupPageOut},
    )  # fmt: skip
    def groups() -> Response:
        query = read_query(GroupQuery, request.args.to_dict(flat=False))
        page = ledger.list_dead_letter_groups(
            query.project, query.state.value if query.state else "", query.limit, query.cursor
        )
        return jsonify(
            {
                "groups": [group_to_json(group) for group in page.items],
                "next_cursor": page.next_cursor or None,
            }
        )

    @letters.get("/dead-letters/replays")
    @operation(
        "List replays of groups, newest first",
        within=Within.ALL,
        query=ReplayQuery,
        answers={200: ReplayPageOut},
    )
    def replays() -> Response:
        query = read_query(ReplayQuery, request.args.to_dict(flat=False))
        page = ledger.list_replays(query.fingerprint, query.limit, query.cursor)
        return jsonify(
            {
                "replays": [replay_to_json(replay) for replay in page.items],
                "next_cursor": page.next_cursor or None,
            }
        )

    @letters.get("/dead-letters/<int:letter_id>")
    @operation("Show a dead letter", within=Within.LETTER, answers={200: LetterOut})
    def show(letter_id: int) -> Response:
        return jsonify(dead_letter_to_json(ledger.get_dead_letter(_known(letter_id))))

    @letters.post("/dead-letters/<int:letter_id>/replay")
    @operation(
        "Send a dead letter on its way again", needs=Role.OPERATOR, within=Within.LETTER,
        body=SettleIn, answers={200: LetterOut}, refuses=("illegal_transition",),
    )  # fmt: skip
    def replay(letter_id: int) -> Response:
        asked = steering.settle_in_body()
        letter = ledger.replay_dead_letter(
            _known(letter_id), steering.by(asked.reason), dry_run=asked.dry_run
        )
        log.info("dead_letter_replayed", letter_id=letter_id, dry_run=asked.dry_run)
        return jsonify(dead_letter_to_json(letter))

    @letters.post("/dead-letters/<int:letter_id>/discard")
    @operation(
        "Give a dead letter up", needs=Role.OPERATOR, within=Within.LETTER, body=SettleIn,
        answers={200: LetterOut}, refuses=("illegal_transition",),
    )  # fmt: skip
    def discard(letter_id: int) -> Response:
        asked = steering.settle_in_body()
        letter = ledger.discard_dead_letter(
            _known(letter_id), steering.by(asked.reason), dry_run=asked.dry_run
        )
        log.info("dead_letter_discarded", letter_id=letter_id, dry_run=asked.dry_run)
        return jsonify(dead_letter_to_json(letter))

    @letters.post("/dead-letters/groups/<fingerprint>/replay")
    @operation(
        "Begin the replay of a group", needs=Role.OPERATOR, within=Within.GROUP, body=ReplayIn,
        answers={200: GroupReplayOut, 202: GroupReplayOut}, refuses=("conflict",),
    )  # fmt: skip
    def replay_group(fingerprint: str) -> Response:
        asked = steering.replay_in_body()
        answer = ledger.replay_dead_letter_group(
            fingerprint, steering.by(asked.reason), dry_run=asked.dry_run,
            rate_per_s=asked.rate_per_s, canary=asked.canary,
        )  # fmt: skip
        begun = answer.replay
        log.info(
            "dead_letter_group_replayed",
            fingerprint=fingerprint,
            matching=answer.matching,
            dry_run=asked.dry_run,
        )
        response = jsonify(
            {"matching": answer.matching, "replay": replay_to_json(begun) if begun else None}
        )
        response.status_code = 202 if begun and begun.ended_at is None else 200
        return response

    @letters.post("/dead-letters/groups/<fingerprint>/discard")
    @operation(
        "Give a group up", needs=Role.OPERATOR, within=Within.GROUP, body=SettleIn,
        answers={200: GroupDiscardOut},
    )  # fmt: skip
    def discard_group(fingerprint: str) -> Response:
        asked = steering.settle_in_body()
        matching, discarded = ledger.discard_dead_letter_group(
            fingerprint, steering.by(asked.reason), dry_run=asked.dry_run
        )
        log.info("dead_letter_group_discarded", fingerprint=fingerprint, discarded=discarded)
        return jsonify({"matching": matching, "discarded": discarded})

    return letters


def _known(letter_id: int) -> int:
    """The number from a path; one that the ledger never gives finds nothing there."""
    return min(letter_id, 2**63 - 1)
