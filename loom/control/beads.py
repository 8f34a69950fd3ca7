"""The routes of beads and their attempts."""

from __future__ import annotations

from flask import Blueprint, Response, g, jsonify, request

from loom.clients.representation import (
    attempt_to_json,
    bead_path,
    bead_to_json,
    project_path,
    why_to_json,
)
from loom.control import body, idempotency, linking, versions
from loom.control.answers.beads import BeadOut, BeadPageOut, BeadsOut, WhyOut
from loom.control.answers.evidence import AttemptOut, AttemptsOut
from loom.control.ledger import Ledger
from loom.control.operation import Within, operation
from loom.control.problem import Fault, InvalidFields
from loom.control.projects import known_form
from loom.control.requests.beads import (
    BeadIn,
    BeadPatch,
    BeadQuery,
    BeadsIn,
    bead_filter,
    read_amendment,
    read_beads,
)
from loom.control.requests.reading import read_query
from loom.control.steering import by
from loom.domain.access import Role
from loom.domain.bead import Bead
from loom.domain.identity import check_bead_id
from loom.errors import Invalid, NotFound
from loom.telemetry import logs, traces
from loom.telemetry.failpoints import failpoint

log = logs.get(__name__)


def routes(ledger: Ledger) -> Blueprint:
    """File beads, list them, show one, its attempts and why it waits, and change that."""
    beads = Blueprint("beads", __name__)

    @beads.post("/projects/<project_id>/beads")
    @operation(
        "File a bead, or several, all or none", needs=Role.OPERATOR, within=Within.PROJECT,
        body=BeadIn | BeadsIn, keyed=True, answers={202: BeadOut | BeadsOut},
        refuses=("conflict", "illegal_transition"),
    )  # fmt: skip
    def file(project_id: str) -> Response:
        known_form(project_id)
        document = body.read()
        new = read_beads(document)
        linking.check_filed(ledger, new)
        filed = ledger.create_beads(
            project_id, new, g.correlation_id, traces.traceparent(),
            idempotency.of_request(document),
        )  # fmt: skip
        failpoint("control.filed")
        log.info(
            "beads_filed",
            project_id=project_id,
            count=len(filed.items),
            bead_id=filed.items[0].id,
            replayed=filed.replayed,
        )
        documents = [bead_to_json(bead) for bead in filed.items]
        many = isinstance(document, list)
        response = jsonify({"beads": documents} if many else documents[0])
        response.status_code = 202
        response.headers["Location"] = (
            f"{project_path(project_id)}/beads" if many else bead_path(filed.items[0].id)
        )
        return idempotency.mark(response, replayed=filed.replayed)

    @beads.get("/projects/<project_id>/beads")
    @operation(
        "List the beads of a project", within=Within.PROJECT, query=BeadQuery,
        answers={200: BeadPageOut},
    )  # fmt: skip
    def list_of_project(project_id: str) -> Response:
        return _list(known_form(project_id))

    @beads.get("/beads")
    @operation("List beads", query=BeadQuery, answers={200: BeadPageOut})
    def list_all() -> Response:
        return _list("")

    @beads.get("/beads/<bead_id>")
    @operation("Show a bead", within=Within.BEAD, answers={200: BeadOut}, versioned=True)
    def show(bead_id: str) -> Response:
        return answer(ledger.get_bead(known_bead(bead_id)))

    @beads.get("/beads/<bead_id>/attempts")
    @operation("List every try at a bead", within=Within.BEAD, answers={200: AttemptsOut})
    def attempts(bead_id: str) -> Response:
        found = ledger.list_attempts(known_bead(bead_id))
        return jsonify({"attempts": [attempt_to_json(attempt) for attempt in found]})

    @beads.get("/beads/<bead_id>/attempts/<int:epoch>")
    @operation("Show one try at a bead", within=Within.BEAD, answers={200: AttemptOut})
    def attempt(bead_id: str, epoch: int) -> Response:
        for each in ledger.list_attempts(known_bead(bead_id)):
            if each.epoch == epoch:
                return jsonify(attempt_to_json(each))
        raise NotFound(f"bead {bead_id} has no attempt {epoch}", bead_id=bead_id)

    @beads.get("/beads/<bead_id>/why")
    @operation("Say why a bead is not running", within=Within.BEAD, answers={200: WhyOut})
    def why(bead_id: str) -> Response:
        return jsonify(why_to_json(ledger.explain_bead(known_bead(bead_id))))

    @beads.patch("/beads/<bead_id>")
    @operation(
        "Edit a bead: its words, what it waits for, its priority", needs=Role.OPERATOR,
        within=Within.BEAD, body=BeadPatch, answers={200: BeadOut},
        refuses=("illegal_transition", "too_large"), versioned=True,
    )  # fmt: skip
    def amend(bead_id: str) -> Response:
        amendment, named = read_amendment(body.read())
        version = versions.expected(named)
        linking.check_amended(ledger, known_bead(bead_id), amendment)
        with versions.failing():
            bead = ledger.amend_bead(
                known_bead(bead_id), amendment, version, traces.traceparent(), by("")
            )
        log.info("bead_amended", bead_id=bead_id, version=bead.version)
        return answer(bead)

    def _list(project_id: str) -> Response:
        query = read_query(BeadQuery, request.args.to_dict(flat=False))
        if project_id and query.project:
            raise InvalidFields([Fault("project", "the path names the project already")])
        page = ledger.list_beads(
            project_id, page_size=query.limit, cursor=query.cursor, where=bead_filter(query),
            sort=query.sort,
        )  # fmt: skip
        if project_id and not page.items:
            # Raises NotFound where the list is empty because there is no such project.
            ledger.get_project(project_id)
        return jsonify(
            {
                "beads": [bead_to_json(bead) for bead in page.items],
                "next_cursor": page.next_cursor or None,
            }
        )

    return beads


def answer(bead: Bead) -> Response:
    """A bead, with its version."""
    return versions.tagged(jsonify(bead_to_json(bead)), bead.version)


def known_bead(bead_id: str) -> str:
    """The id from a path; raises NotFound if no bead can have it."""
    try:
        return check_bead_id(bead_id)
    except Invalid as error:
        raise NotFound(f"there is no such bead: {error.detail}") from error
