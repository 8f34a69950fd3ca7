"""The routes of projects."""

from __future__ import annotations

from flask import Blueprint, Response, g, jsonify, request

from loom.clients.representation import project_path, project_to_json
from loom.control import body, idempotency, versions
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
from loom.control.requests.steering import ReasonIn
from loom.control.steering import by, reason_in_body
from loom.domain.access import Role
from loom.domain.audit import Intervention
from loom.domain.identity import PROJECT_ID
from loom.domain.project import Project, ProjectChange, ProjectState
from loom.errors import IllegalTransition, NotFound
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
    """Make a project, list them, show one, edit it, and say whether its work goes on."""
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
            project, g.correlation_id, traces.traceparent(), idempotency.of_request(document),
            by=by(""),
        )  # fmt: skip
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
    @operation("Show a project", within=Within.PROJECT, answers={200: ProjectOut}, versioned=True)
    def show(project_id: str) -> Response:
        return _answer(ledger.get_project(known_form(project_id)))

    @projects.patch("/projects/<project_id>")
    @operation(
        "Edit a project", needs=Role.ADMIN, within=Within.PROJECT, body=ProjectPatch,
        answers={200: ProjectOut}, refuses=("illegal_transition",), versioned=True,
    )  # fmt: skip
    def change(project_id: str) -> Response:
        wanted, version = read_project_change(body.read()), versions.expected()
        with versions.failing():
            project = _update(known_form(project_id), wanted, version, by(""))
        return _answer(project)

    @projects.post("/projects/<project_id>/<any(pause, drain, resume):act>")
    @operation(
        "Pause, drain or resume a project", needs=Role.OPERATOR, within=Within.PROJECT,
        body=ReasonIn, answers={200: ProjectOut}, refuses=("illegal_transition", "stale"),
    )  # fmt: skip
    def steer(project_id: str, act: str) -> Response:
        return _steer(known_form(project_id), act)

    @projects.post("/projects/<project_id>/<any(close, reopen):act>")
    @operation(
        "Close or reopen a project: a closed one takes no beads, and nothing of it starts",
        needs=Role.ADMIN, within=Within.PROJECT, body=ReasonIn, answers={200: ProjectOut},
        refuses=("illegal_transition", "stale"),
    )  # fmt: skip
    def end(project_id: str, act: str) -> Response:
        return _steer(known_form(project_id), act)

    def _steer(project_id: str, act: str) -> Response:
        who = reason_in_body()
        before = ledger.get_project(project_id)
        wanted = moved(before, act)
        if wanted is not None:
            # At the version that was looked at: resuming is not to reopen what was just closed.
            change = ProjectChange(state=wanted)
            return _answer(_update(project_id, change, before.version, who))
        return _answer(before)

    def _update(
        project_id: str, wanted: ProjectChange, version: int, who: Intervention
    ) -> Project:  # fmt: skip
        project = ledger.update_project(
            project_id, wanted, g.correlation_id, traces.traceparent(),
            expected_version=version, by=who,
        )  # fmt: skip
        log.info("project_changed", project_id=project_id, **wanted.given())
        return project

    return projects


ACTS = {
    "pause": ProjectState.PAUSED,
    "drain": ProjectState.DRAINING,
    "resume": ProjectState.ACTIVE,
    "close": ProjectState.CLOSED,
    "reopen": ProjectState.ACTIVE,
}


def moved(project: Project, act: str) -> ProjectState | None:
    """The state that an act leads to; None where it is there. Raises IllegalTransition."""
    closed = project.state is ProjectState.CLOSED
    if closed and act not in ("close", "reopen"):
        raise IllegalTransition(
            f"project {project.id} is closed: reopen it first, `loom project reopen {project.id}`",
            project_id=project.id,
            state=project.state.value,
        )
    if project.state is ACTS[act] or (act == "reopen" and not closed):
        return None
    return ACTS[act]


def _answer(project: Project) -> Response:
    return versions.tagged(jsonify(project_to_json(project)), project.version)
