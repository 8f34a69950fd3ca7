"""What the routes of comments ask of the ledger."""

from __future__ import annotations

from typing import Protocol

from loom.clients.answers import Filed, Page
from loom.clients.comments import Subject
from loom.domain.comment import Comment


class Comments(Protocol):
    """The calls of loom.clients.database.DatabaseClient that these routes stand on."""

    def add_comment(
        self, on: Subject, author: str, text: str, correlation_id: str, *, traceparent: str = "",
        idempotency: tuple[str, str] = ("", ""),
    ) -> Filed[Comment]:  # fmt: skip
        """Say something."""

    def list_comments(self, on: Subject, page_size: int = 50, cursor: str = "") -> Page[Comment]:
        """Comments, oldest first."""

    def edit_comment(self, on: Subject, comment_id: str, author: str, text: str) -> Comment:
        """Write one's own anew."""

    def delete_comment(self, on: Subject, comment_id: str, author: str) -> Comment:
        """Take the text of one's own away."""
