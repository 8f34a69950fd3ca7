"""The routes of live logs: in pages, as text, and as a stream of events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from loom.clients.following import as_text, page_to_json
from loom.control.answers.logs import LogOut
from loom.control.beads import known_bead
from loom.control.followers import Followers, Ledger
from loom.control.operation import Content, Within, operation
from loom.control.requests.reading import read_query
from loom.control.streaming import EVENTS, reader_left, streamed
from loom.domain.log import LogCursor, LogPage, LogState
from loom.errors import LoomError
from loom.telemetry import logs

TEXT_LINES = 1_000

log = logs.get(__name__)

Cursor = Annotated[str, StringConstraints(max_length=60, pattern=r"^[0-9.]*$")]


class LogQuery(BaseModel):
    """The query of a log. attempt: this one alone, to its end; else the newest, and later ones.

    from: start or now, where no cursor comes with it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    attempt: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    start: Literal["start", "now"] = Field(default="start", alias="from")
    cursor: Cursor = ""
    limit: Annotated[int, Field(ge=1, le=5_000)] = 1_000


class StreamQuery(BaseModel):
    """The query of a stream. from: start or now, where no place comes with it.

    cursor: the place of the last event that came, for who cannot send a Last-Event-ID.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    attempt: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    start: Literal["start", "now"] = Field(default="start", alias="from")
    cursor: Cursor = ""


def routes(ledger: Ledger, followers: Followers) -> Blueprint:
    """Read the log of a bead, and follow it."""
    blueprint = Blueprint("livelog", __name__)

    @blueprint.get("/beads/<bead_id>/log")
    @operation(
        "Read the log of a bead, in pages or as text", within=Within.BEAD, query=LogQuery,
        answers={200: (LogOut, Content("text/plain"))},
    )  # fmt: skip
    def read(bead_id: str) -> Response:
        query = read_query(LogQuery, request.args.to_dict(flat=False))

        def page() -> LogPage:
            return ledger.read_log(
                known_bead(bead_id), query.attempt or 0, query.cursor, query.limit,
                from_now=query.start == "now",
            )  # fmt: skip

        wanted = request.accept_mimetypes.best_match(("application/json", "text/plain"))
        if wanted != "text/plain":
            return jsonify(page_to_json(bead_id, page()))
        with followers.placed() as give_back:
            # Of one attempt, whatever comes after it.
            newest = page().next.epoch
            epoch = query.attempt or (
                LogCursor.parse(query.cursor).epoch if query.cursor else newest
            )
            pages = _texts(ledger, bead_id, epoch, query.cursor) if epoch else iter(())
            return streamed(pages, "text/plain; charset=utf-8", give_back)

    @blueprint.get("/beads/<bead_id>/log/stream")
    @operation(
        "Follow the log of a bead as it comes", within=Within.BEAD, query=StreamQuery,
        answers={200: Content("text/event-stream"), 204: None},
    )  # fmt: skip
    def stream(bead_id: str) -> Response:
        query = read_query(StreamQuery, request.args.to_dict(flat=False))
        epoch, cursor = query.attempt or 0, request.headers.get("Last-Event-ID", query.cursor)
        with followers.placed() as give_back:
            from_now = query.start == "now"
            page = ledger.read_log(known_bead(bead_id), epoch, cursor, 1, from_now=from_now)
            if cursor and page.state is LogState.ENDED and not page.lines:
                give_back()
                # By this a browser's EventSource knows not to come again.
                return Response(status=204)
            if from_now and not cursor:
                cursor = str(page.next)
            frames = followers.follow(bead_id, epoch, cursor, reader_left())
            return streamed(frames, EVENTS, give_back)

    return blueprint


def _texts(ledger: Ledger, bead_id: str, epoch: int, cursor: str) -> Iterator[bytes]:
    """What one attempt has said so far, as people read it."""
    while True:
        try:
            page = ledger.read_log(bead_id, epoch, cursor, TEXT_LINES)
        except LoomError as error:
            yield f"\n… the rest cannot be read: {error.detail}\n".encode()
            return
        yield "".join(as_text(each.line) for each in page.lines).encode()
        cursor = str(page.next)
        if page.state is not LogState.MORE:
            return
