"""The routes of projects."""

from __future__ import annotations

from flask import Blueprint, Response, g, jsonify, request

from loom.clients.representation import project_path, project_to_json
from loom.control import body, idempotency
from loom.control.answers.projects import ProjectOut, ProjectPageOut
from loom.control.ledger import Ledger
from loom.control.operation import Within, operation
from loom.control.requests.projects import (
    ProjectIn,
    ProjectPatch,
    read_project,
    read_project_change,
)
from loom.control.requests.reading import Paging, read_query
from loom.domain.access import Role
from loom.domain.identity import PROJECT_ID
from loom.errors import NotFound
from loom.telemetry import logs, traces

log = logs.get(__name__)


def known_form(project_id: str) -> str:
    """The id from a path; raises NotFound if no project can have it."""
    if not PROJECT_ID.fullmatch(project_id):
        raise NotFound(
            f"there is no project {project_id[:80]!r}: an id is 1 to 63 of a-z, 0-9 and '-', "
            "beginning with a letter or a digit"
        )
    return project_id


def routes(ledger: Ledger) -> Blueprint:
    """Make a project, list them, show one and change it."""
    projects = Blueprint("projects", __name__)

    @projects.post("/projects")
    @operation(
        "Make a project", needs=Role.ADMIN, within=Within.ALL, body=ProjectIn, keyed=True,
        answers={201: ProjectOut}, refuses=("conflict",),
    )  # fmt: skip
    def make() -> Response:
        document = body.read()
        project = read_project(document)
        made = ledger.create_project(
            project, g.correlation_id, traces.traceparent(), idempotency.of_request(document)
        )
        response = jsonify(project_to_json(made.items[0]))
        response.status_code = 201
        response.headers["Location"] = project_path(project.id)
        return idempotency.mark(response, replayed=made.replayed)

    @projects.get("/projects")
    @operation(
        "List projects in the order of their ids", query=Paging, answers={200: ProjectPageOut}
    )
    def list_all() -> Response:
        query = read_query(Paging, request.args.to_dict(flat=False))
        page = ledger.list_projects(query.limit, query.cursor)
        return jsonify(
            {
                "projects": [project_to_json(project) for project in page.items],
                "next_cursor": page.next_cursor or None,
            }
        )

    @projects.get("/projects/<project_id>")
    @operation("Show a project", within=Within.PROJECT, answers={200: ProjectOut})
    def show(project_id: str) -> Response:
        return jsonify(project_to_json(ledger.get_project(known_form(project_id))))

    @projects.patch("/projects/<project_id>")
    @operation(
        "Change a project", needs=Role.ADMIN, within=Within.PROJECT, body=ProjectPatch,
        answers={200: ProjectOut},
    )  # fmt: skip
    def change(project_id: str) -> Response:
        wanted = read_project_change(body.read())
        project = ledger.update_project(
            known_form(project_id), wanted, g.correlation_id, traces.traceparent()
        )
        log.info("project_changed", project_id=project_id, **wanted.given())
        return jsonify(project_to_json(project))

    return projects
