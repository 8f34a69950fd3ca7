"""Comments: what people say of a bead or a project, in Markdown that is kept as they wrote it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from loom.errors import Forbidden, IllegalTransition, Invalid

MAX_COMMENT = 65_536
"""Characters of one comment; as many as GitHub takes."""
MAX_AUTHOR = 200


@dataclass(frozen=True, slots=True)
class Comment:
    """What somebody said. bead_id: empty for a comment on the project.

    source: the tracker that it was imported from; empty where it was written here. A deleted one
    keeps its place and has no text.
    """

    id: str
    project_id: str
    bead_id: str
    author: str
    text: str
    created_at: datetime
    edited_at: datetime | None = None
    deleted_at: datetime | None = None
    source: str = ""


def check_text(text: str) -> str:
    """Return a comment's text, or raise Invalid."""
    if not text.strip() or len(text) > MAX_COMMENT or "\0" in text:
        raise Invalid(
            f"a comment has to say something, in at most {MAX_COMMENT} characters and without NUL",
            field="text",
        )
    return text


def check_author(author: str) -> str:
    """Return who says it, or raise Invalid."""
    if not author.strip() or len(author) > MAX_AUTHOR or "\0" in author:
        raise Invalid(f"author has 1 to {MAX_AUTHOR} characters, without NUL", field="author")
    return author


def check_own(comment: Comment, by: str) -> None:
    """Raise Forbidden or IllegalTransition unless that person may change the comment."""
    if comment.source or comment.author != by:
        origin = f", and was imported from {comment.source}" if comment.source else ""
        raise Forbidden(
            f"comment {comment.id} is {comment.author}'s{origin}: only who wrote it here can "
            "change it. Say what you mean in a comment of your own",
            comment_id=comment.id,
        )
    if comment.deleted_at is not None:
        raise IllegalTransition(
            f"comment {comment.id} is deleted: write another", comment_id=comment.id
        )
