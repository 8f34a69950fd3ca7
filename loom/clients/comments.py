"""The calls of the database service about comments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loom.clients.answers import Filed, Page
from loom.domain.comment import Comment
from loom.rpc.comments import comment_from_pb
from loom.rpc.v1 import comments_pb2 as pb
from loom.rpc.v1 import comments_pb2_grpc
from loom.rpc.v1 import database_pb2 as database


@dataclass(frozen=True, slots=True)
class Subject:
    """What a comment is on: a bead, or a project."""

    project_id: str = ""
    bead_id: str = ""

    def words(self) -> dict[str, str]:
        """As fields of a request."""
        return {"project_id": self.project_id, "bead_id": self.bead_id}


class CommentCalls:
    """Calls of the CommentService; DatabaseClient has the others."""

    _comments: comments_pb2_grpc.CommentServiceStub
    _call: Callable[..., Any]

    def add_comment(
        self, on: Subject, author: str, text: str, correlation_id: str, *, traceparent: str = "",
        idempotency: tuple[str, str] = ("", ""),
    ) -> Filed[Comment]:  # fmt: skip
        """Say something. idempotency: key and fingerprint. Raises NotFound, Invalid."""
        answer = self._call(
            self._comments.AddComment,
            pb.AddCommentRequest(
                **on.words(),
                author=author,
                text=text,
                correlation_id=correlation_id,
                traceparent=traceparent,
                idempotency=database.Idempotency(key=idempotency[0], fingerprint=idempotency[1]),
            ),
        )
        return Filed((comment_from_pb(answer.comment),), answer.replayed)

    def list_comments(self, on: Subject, page_size: int = 50, cursor: str = "") -> Page[Comment]:
        """Oldest first. Raises NotFound."""
        answer = self._call(
            self._comments.ListComments,
            pb.ListCommentsRequest(**on.words(), page_size=page_size, cursor=cursor),
        )
        return Page(tuple(map(comment_from_pb, answer.comments)), answer.next_cursor)

    def edit_comment(self, on: Subject, comment_id: str, author: str, text: str) -> Comment:
        """Write one's own anew. Raises NotFound, Forbidden, IllegalTransition, Invalid."""
        answer = self._call(
            self._comments.EditComment,
            pb.EditCommentRequest(**on.words(), id=comment_id, author=author, text=text),
        )
        return comment_from_pb(answer.comment)

    def delete_comment(self, on: Subject, comment_id: str, author: str) -> Comment:
        """Take the text of one's own away. Raises NotFound, Forbidden, IllegalTransition."""
        answer = self._call(
            self._comments.DeleteComment,
            pb.DeleteCommentRequest(**on.words(), id=comment_id, author=author),
        )
        return comment_from_pb(answer.comment)
