"""The routes of comments on beads and projects."""

from __future__ import annotations

import re

from flask import Blueprint, Response, g, jsonify, request

from loom.clients.commenting import comment_to_json
from loom.clients.comments import Subject
from loom.control import body, idempotency
from loom.control.answers.comments import CommentOut, CommentPageOut
from loom.control.beads import known_bead
from loom.control.commenting import Comments
from loom.control.operation import Within, operation
from loom.control.projects import known_form
from loom.control.requests.comments import CommentIn, CommentQuery
from loom.control.requests.reading import read_body, read_query
from loom.domain.access import Role
from loom.errors import NotFound
from loom.telemetry import logs, traces

_FORM = re.compile(r"cm-[0-9a-z]{1,40}")

log = logs.get(__name__)


def routes(ledger: Comments) -> Blueprint:
    """Say something of a bead or a project, and read, edit and delete it."""
    comments = Blueprint("comments", __name__)

    @comments.post("/beads/<bead_id>/comments")
    @operation(
        "Comment on a bead", needs=Role.OPERATOR, within=Within.BEAD, body=CommentIn, keyed=True,
        answers={201: CommentOut},
    )  # fmt: skip
    def add_to_bead(bead_id: str) -> Response:
        return _add(Subject(bead_id=known_bead(bead_id)))

    @comments.post("/projects/<project_id>/comments")
    @operation(
        "Comment on a project", needs=Role.OPERATOR, within=Within.PROJECT, body=CommentIn,
        keyed=True, answers={201: CommentOut},
    )  # fmt: skip
    def add_to_project(project_id: str) -> Response:
        return _add(Subject(known_form(project_id)))

    @comments.get("/beads/<bead_id>/comments")
    @operation(
        "List the comments on a bead, oldest first", within=Within.BEAD, query=CommentQuery,
        answers={200: CommentPageOut},
    )  # fmt: skip
    def list_of_bead(bead_id: str) -> Response:
        return _list(Subject(bead_id=known_bead(bead_id)))

    @comments.get("/projects/<project_id>/comments")
    @operation(
        "List the comments on a project, oldest first", within=Within.PROJECT, query=CommentQuery,
        answers={200: CommentPageOut},
    )  # fmt: skip
    def list_of_project(project_id: str) -> Response:
        return _list(Subject(known_form(project_id)))

    @comments.patch("/beads/<bead_id>/comments/<comment_id>")
    @operation(
        "Edit a comment of one's own on a bead", needs=Role.OPERATOR, within=Within.BEAD,
        body=CommentIn, answers={200: CommentOut}, refuses=("illegal_transition",),
    )  # fmt: skip
    def edit_on_bead(bead_id: str, comment_id: str) -> Response:
        return _edit(Subject(bead_id=known_bead(bead_id)), comment_id)

    @comments.patch("/projects/<project_id>/comments/<comment_id>")
    @operation(
        "Edit a comment of one's own on a project", needs=Role.OPERATOR, within=Within.PROJECT,
        body=CommentIn, answers={200: CommentOut}, refuses=("illegal_transition",),
    )  # fmt: skip
    def edit_on_project(project_id: str, comment_id: str) -> Response:
        return _edit(Subject(known_form(project_id)), comment_id)

    @comments.delete("/beads/<bead_id>/comments/<comment_id>")
    @operation(
        "Delete a comment of one's own on a bead", needs=Role.OPERATOR, within=Within.BEAD,
        answers={200: CommentOut}, refuses=("illegal_transition",),
    )  # fmt: skip
    def delete_on_bead(bead_id: str, comment_id: str) -> Response:
        return _delete(Subject(bead_id=known_bead(bead_id)), comment_id)

    @comments.delete("/projects/<project_id>/comments/<comment_id>")
    @operation(
        "Delete a comment of one's own on a project", needs=Role.OPERATOR, within=Within.PROJECT,
        answers={200: CommentOut}, refuses=("illegal_transition",),
    )  # fmt: skip
    def delete_on_project(project_id: str, comment_id: str) -> Response:
        return _delete(Subject(known_form(project_id)), comment_id)

    def _add(on: Subject) -> Response:
        document = body.read()
        said = read_body(CommentIn, document)
        made = ledger.add_comment(
            on, g.principal.name, said.text, g.correlation_id, traceparent=traces.traceparent(),
            idempotency=idempotency.of_request(document),
        )  # fmt: skip
        (comment,) = made.items
        log.info("comment_added", comment_id=comment.id, bead_id=comment.bead_id)
        told = comment_to_json(comment)
        response = jsonify(told)
        response.status_code = 201
        response.headers["Location"] = told["links"]["self"]
        return idempotency.mark(response, replayed=made.replayed)

    def _list(on: Subject) -> Response:
        query = read_query(CommentQuery, request.args.to_dict(flat=False))
        page = ledger.list_comments(on, query.limit, query.cursor)
        return jsonify(
            {
                "comments": [comment_to_json(comment) for comment in page.items],
                "next_cursor": page.next_cursor or None,
            }
        )

    def _edit(on: Subject, comment_id: str) -> Response:
        said = read_body(CommentIn, body.read())
        edited = ledger.edit_comment(on, _known(comment_id), g.principal.name, said.text)
        return jsonify(comment_to_json(edited))

    def _delete(on: Subject, comment_id: str) -> Response:
        deleted = ledger.delete_comment(on, _known(comment_id), g.principal.name)
        log.info("comment_deleted", comment_id=deleted.id, bead_id=deleted.bead_id)
        return jsonify(comment_to_json(deleted))

    return comments


def _known(comment_id: str) -> str:
    """The id from a path; raises NotFound if no comment can have it."""
    if not _FORM.fullmatch(comment_id):
        raise NotFound(f"there is no comment {comment_id[:80]!r}")
    return comment_id
