"""Comments in the ledger: added once, listed, edited and deleted by who wrote them."""

from __future__ import annotations

from sqlalchemy import Connection, insert, literal, select, tuple_, update

from loom.database import beads, cursor, filing, idempotency, projects, tables
from loom.database.changes import Changes, Event
from loom.database.steering import Run
from loom.database.writing import write
from loom.domain.comment import Comment, check_author, check_own, check_text
from loom.domain.identity import check_bead_id, check_project_id, new_message_id
from loom.errors import Invalid, NotFound
from loom.rpc import comments as codec
from loom.rpc.v1 import comments_pb2 as pb

PAGE, LARGEST_PAGE = 50, 200
TOLD = 200
"""Characters of a comment that its event carries."""

COLUMNS = [column for column in tables.comment.c if column.name != "mark"]


class Comments:
    """Commands on comments, each in one transaction."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def add(self, request: pb.AddCommentRequest, time_left_s: float) -> pb.AddCommentResponse:
        """Add one; a repeated request answers as the first did. Raises NotFound, Invalid."""
        subject(request.project_id, request.bead_id)
        check_text(request.text)
        check_author(request.author)
        filing.check_text(request.correlation_id + request.traceparent, "correlation_id")

        def work(connection: Connection) -> tuple[pb.AddCommentResponse, bool]:
            def make() -> pb.AddCommentResponse:
                return pb.AddCommentResponse(comment=codec.comment_to_pb(_add(connection, request)))

            return idempotency.once(connection, request.idempotency, pb.AddCommentResponse(), make)

        answer, replayed = self._run(
            work, time_left_s, idempotency.locks(request.idempotency), tells=True
        )
        answer.replayed = replayed
        return answer

    def page(
        self, request: pb.ListCommentsRequest, time_left_s: float
    ) -> tuple[tuple[Comment, ...], str]:
        """Those on a bead or a project, oldest first, and the next cursor. Raises NotFound."""
        subject(request.project_id, request.bead_id)
        return self._run(lambda c: _page(c, request), time_left_s)

    def edit(self, request: pb.EditCommentRequest, time_left_s: float) -> Comment:
        """Write it anew; as it is then. Raises NotFound, Forbidden, IllegalTransition, Invalid."""
        subject(request.project_id, request.bead_id)
        check_text(request.text)

        def work(connection: Connection) -> Comment:
            before = _own(connection, request)
            if before.text != request.text:
                connection.execute(
                    update(tables.comment)
                    .where(tables.comment.c.id == request.id)
                    .values(text=request.text, edited_at=tables.NOW)
                )
            return _get(connection, request.id)

        return self._run(work, time_left_s)

    def delete(self, request: pb.DeleteCommentRequest, time_left_s: float) -> Comment:
        """Take its text away; as it is then. Raises NotFound, Forbidden, IllegalTransition."""
        subject(request.project_id, request.bead_id)

        def work(connection: Connection) -> Comment:
            _own(connection, request)
            connection.execute(
                update(tables.comment)
                .where(tables.comment.c.id == request.id)
                .values(text="", deleted_at=tables.NOW)
            )
            return _get(connection, request.id)

        return self._run(work, time_left_s)


def subject(project_id: str, bead_id: str) -> None:
    """Raise Invalid unless it is one bead or one project that is spoken of."""
    if bool(project_id) == bool(bead_id):
        raise Invalid("a comment is on a bead or on a project: name one", field="bead_id")
    if bead_id:
        check_bead_id(bead_id)
    else:
        check_project_id(project_id)


def told(comment: Comment, correlation_id: str, traceparent: str) -> Event:
    """What is told of a new comment."""
    data = {"comment_id": comment.id, "author": comment.author, "text": comment.text[:TOLD]}
    return Event(
        "comment.created",
        comment.project_id,
        comment.bead_id,
        0,
        data,
        correlation_id,
        traceparent,
    )


def missing(comment_id: str) -> NotFound:
    """The error for a comment that is not there."""
    return NotFound(f"there is no comment {comment_id[:80]!r} here", comment_id=comment_id[:80])


def _project_of(connection: Connection, project_id: str, bead_id: str) -> str:
    """The project of what is spoken of. Raises NotFound."""
    if bead_id:
        return beads.get(connection, bead_id).project_id
    return projects.get(connection, project_id).id


def _add(connection: Connection, request: pb.AddCommentRequest) -> Comment:
    project_id = _project_of(connection, request.project_id, request.bead_id)
    id_ = f"cm-{new_message_id()}"
    connection.execute(
        insert(tables.comment).values(
            id=id_,
            project_id=project_id,
            bead_id=request.bead_id,
            author=request.author,
            text=request.text,
            created_at=tables.NOW,
        )
    )
    made = _get(connection, id_)
    event = told(made, request.correlation_id, request.traceparent)
    write(connection, Changes(events=(event,)))
    return made


def _get(connection: Connection, comment_id: str) -> Comment:
    found = connection.execute(select(*COLUMNS).where(tables.comment.c.id == comment_id))
    return Comment(**found.mappings().one())


def _own(
    connection: Connection, request: pb.EditCommentRequest | pb.DeleteCommentRequest
) -> Comment:
    """The comment on what is spoken of, locked; raises unless it is the asker's own."""
    filing.check_text(request.id, "id")
    found = connection.execute(
        select(*COLUMNS).where(tables.comment.c.id == request.id).with_for_update()
    )
    row = found.mappings().one_or_none()
    comment = Comment(**row) if row else None
    if comment is None or (comment.bead_id or comment.project_id) != (
        request.bead_id or request.project_id
    ):
        raise missing(request.id)
    check_own(comment, request.author)
    return comment


def _page(
    connection: Connection, request: pb.ListCommentsRequest
) -> tuple[tuple[Comment, ...], str]:
    c = tables.comment.c
    size = cursor.page_size(request.page_size, PAGE, LARGEST_PAGE)
    statement = select(*COLUMNS).order_by(c.created_at, c.id).limit(size + 1)
    if request.bead_id:
        statement = statement.where(c.bead_id == request.bead_id)
    else:
        statement = statement.where(c.project_id == request.project_id, c.bead_id == "")
    if request.cursor:
        after = tuple_(*map(literal, cursor.read_moment(request.cursor)))
        statement = statement.where(tuple_(c.created_at, c.id) > after)
    found = [Comment(**row) for row in connection.execute(statement).mappings()]
    if not found:
        _project_of(connection, request.project_id, request.bead_id)
    more = len(found) > size
    found = found[:size]
    return tuple(found), cursor.write_moment(found[-1].created_at, found[-1].id) if more else ""
