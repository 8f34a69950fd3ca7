"""Comments."""

from __future__ import annotations

from loom.control.answers.answer import Answer, Moment, NextCursor, Path


class CommentLinks(Answer):
    """Where the comment is."""

    self: Path


class CommentOut(Answer):
    """What somebody said of a bead, or of a project; its Markdown as it was written."""

    id: str
    project_id: str
    bead_id: str | None
    author: str
    text: str
    created_at: Moment
    edited_at: Moment | None
    deleted_at: Moment | None
    source: str
    links: CommentLinks


class CommentPageOut(Answer):
    """Some comments, oldest first."""

    comments: list[CommentOut]
    next_cursor: NextCursor
