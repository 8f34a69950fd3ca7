"""The routes by which work comes from other trackers, and is given back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import RequestEntityTooLarge

from loom.clients.importing import origin_to_json, verdicts_to_json
from loom.control import body
from loom.control.answers.answer import Object
from loom.control.answers.imports import ImportOut, OriginOut
from loom.control.beads import known_bead
from loom.control.importing import Imports
from loom.control.operation import Content, Within, operation
from loom.control.problem import Fault, InvalidFields
from loom.control.projects import known_form
from loom.control.requests.imports import ExportQuery, ImportIn, ImportQuery
from loom.control.requests.reading import read_body, read_query
from loom.control.steering import by
from loom.domain.access import Role
from loom.domain.bead import MAX_BATCH
from loom.domain.imports.difference import View
from loom.domain.imports.issue import Source
from loom.domain.imports.reading import Line, cut, write
from loom.domain.imports.spreadsheet import COLUMNS, row
from loom.domain.imports.verdict import Action, Verdict
from loom.errors import BadRequest, NotFound
from loom.telemetry import logs

MAX_IMPORT_BYTES = 4 * 1024 * 1024
"""The body of one import; a larger file comes in parts, as `loom bead import` cuts it."""
PAGE = 200
MEDIA = {
    Source.BD: "application/x-ndjson",
    Source.LOOM: "application/x-ndjson",
    Source.GITHUB: "application/json",
    Source.CSV: "text/csv",
}
ENDINGS = {Source.BD: "jsonl", Source.LOOM: "jsonl", Source.GITHUB: "json", Source.CSV: "csv"}

log = logs.get(__name__)


def routes(ledger: Imports) -> Blueprint:
    """Import into a project, export it, and show where a bead came from."""
    imports = Blueprint("imports", __name__)

    @imports.post("/projects/<project_id>/import")
    @operation(
        "Bring issues of another tracker in, or say what that would do", needs=Role.OPERATOR,
        within=Within.PROJECT, body=ImportIn, query=ImportQuery, answers={200: ImportOut},
        refuses=("conflict",),
    )  # fmt: skip
    def bring_in(project_id: str) -> Response:
        known_form(project_id)
        request.max_content_length = MAX_IMPORT_BYTES
        query = read_query(ImportQuery, request.args.to_dict(flat=False))
        if request.mimetype in {"application/x-ndjson", "text/csv", "text/plain"}:
            source, lines = _file(query)
            dry_run, run = query.dry_run, query.run
        else:
            asked = read_body(ImportIn, body.read())
            source, lines = asked.source, asked.lines()
            dry_run, run = asked.dry_run or query.dry_run, asked.run or query.run
        good = [each for each in lines if each.record is not None]
        verdicts = [
            Verdict(each.number, Action.INVALID, remarks=(each.fault,))
            for each in lines
            if each.record is None
        ]
        if good:
            verdicts += ledger.import_beads(
                project_id, source, good, by(f"import from {source.value}"), dry_run=dry_run,
                run=run,
            )  # fmt: skip
        told = verdicts_to_json(sorted(verdicts, key=lambda v: v.line), dry_run=dry_run)
        log.info("issues_imported", project_id=project_id, dry_run=dry_run, **told["counts"])
        return jsonify(told)

    @imports.get("/projects/<project_id>/export")
    @operation(
        "Give a project's beads back, in a tracker's form", within=Within.PROJECT,
        query=ExportQuery,
        answers={200: (list[Object], Content("application/x-ndjson"), Content("text/csv"))},
    )  # fmt: skip
    def give_back(project_id: str) -> Response:
        source = read_query(ExportQuery, request.args.to_dict(flat=False)).format
        first = ledger.list_exports(known_form(project_id), PAGE)
        views = _views(ledger, project_id, first.items, first.next_cursor)
        response = Response(_written(source, views), mimetype=MEDIA[source])
        name = f"{project_id}.{ENDINGS[source]}"
        response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    @imports.get("/beads/<bead_id>/origin")
    @operation("Say where a bead came from", within=Within.BEAD, answers={200: OriginOut})
    def origin(bead_id: str) -> Response:
        found = ledger.get_origin(known_bead(bead_id))
        if found is None:
            raise NotFound(f"bead {bead_id} was filed here, and imported from nowhere")
        return jsonify(origin_to_json(found))

    return imports


def _file(query: ImportQuery) -> tuple[Source, list[Line]]:
    """The lines of the file that is the body. Raises BadRequest, InvalidFields, Invalid."""
    if query.source is None:
        raise InvalidFields([Fault("from", "has to say whose file it is: bd, github, csv, loom")])
    raw = request.get_data(cache=False)
    if len(raw) > MAX_IMPORT_BYTES:
        raise RequestEntityTooLarge
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"the file is not UTF-8: byte {error.start} is not") from error
    lines = cut(query.source, text)
    if not 1 <= len(lines) <= MAX_BATCH:
        raise InvalidFields([Fault("", f"has {len(lines)} issues: send 1 to {MAX_BATCH} at once")])
    return query.source, lines


def _views(ledger: Imports, project_id: str, views: Iterable[View], cursor: str) -> Iterator[View]:
    """Those of the first page, and of all that follow."""
    yield from views
    while cursor:
        page = ledger.list_exports(project_id, PAGE, cursor)
        yield from page.items
        cursor = page.next_cursor


def _written(source: Source, views: Iterable[View]) -> Iterator[str]:
    """The file, in pieces."""
    if source is Source.CSV:
        yield from _rows(views)
        return
    listed = source is Source.GITHUB
    separator = "[\n" if listed else ""
    for view in views:
        yield separator + json.dumps(write(source, view), ensure_ascii=False)
        separator = ",\n" if listed else "\n"
    if listed:
        yield "[]\n" if separator == "[\n" else "\n]\n"
    elif separator:
        yield separator


def _rows(views: Iterable[View]) -> Iterator[str]:
    cells = io.StringIO(newline="")
    writer = csv.writer(cells)
    writer.writerow(COLUMNS)
    for view in views:
        writer.writerow(row(write(Source.CSV, view)))
        yield cells.getvalue()
        cells.seek(0)
        cells.truncate()
    yield cells.getvalue()
