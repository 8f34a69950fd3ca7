"""The part of FakeLedger about comments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from loom.clients.answers import Filed, Page
from loom.clients.comments import Subject
from loom.database import comments
from loom.database import cursor as cursors
from loom.database.changes import Changes
from loom.domain.bead import Bead
from loom.domain.comment import Comment, check_author, check_own, check_text
from loom.domain.identity import new_message_id
from loom.domain.project import Project


class FakeComments:
    """Calls about comments, on memory."""

    _lock: Any
    _now: datetime
    _tick: Callable[[], datetime]
    _once: Callable[..., Filed[Any]]
    _apply: Callable[[Changes], None]
    get_bead: Callable[[str], Bead]
    get_project: Callable[[str], Project]

    def __init__(self) -> None:
        self._said: dict[str, Comment] = {}

    def add_comment(
        self, on: Subject, author: str, text: str, correlation_id: str, *, traceparent: str = "",
        idempotency: tuple[str, str] = ("", ""),
    ) -> Filed[Comment]:  # fmt: skip
        """As the client."""
        comments.subject(on.project_id, on.bead_id)
        check_text(text)
        check_author(author)

        def make() -> Filed[Comment]:
            project_id = self._project_of(on)
            id_ = f"cm-{new_message_id()}"
            made = Comment(id_, project_id, on.bead_id, author, text, self._tick())
            self._said[id_] = made
            event = comments.told(made, correlation_id, traceparent)
            self._apply(Changes(events=(event,)))
            return Filed((made,))

        return self._once(idempotency, make)

    def list_comments(self, on: Subject, page_size: int = 50, cursor: str = "") -> Page[Comment]:
        """As the client."""
        comments.subject(on.project_id, on.bead_id)
        size = cursors.page_size(page_size, comments.PAGE, comments.LARGEST_PAGE)
        after = cursors.read_moment(cursor) if cursor else None
        with self._lock:
            self._project_of(on)
            found = [
                each
                for each in sorted(self._said.values(), key=lambda c: (c.created_at, c.id))
                if self._is_on(each, on) and (after is None or (each.created_at, each.id) > after)
            ]
        if len(found) <= size:
            return Page(tuple(found))
        last = found[size - 1]
        return Page(tuple(found[:size]), cursors.write_moment(last.created_at, last.id))

    def edit_comment(self, on: Subject, comment_id: str, author: str, text: str) -> Comment:
        """As the client."""
        comments.subject(on.project_id, on.bead_id)
        check_text(text)
        with self._lock:
            before = self._own(on, comment_id, author)
            if before.text != text:
                edited = replace(before, text=text, edited_at=self._tick())
                self._said[comment_id] = edited
            return self._said[comment_id]

    def delete_comment(self, on: Subject, comment_id: str, author: str) -> Comment:
        """As the client."""
        comments.subject(on.project_id, on.bead_id)
        with self._lock:
            before = self._own(on, comment_id, author)
            self._said[comment_id] = replace(before, text="", deleted_at=self._tick())
            return self._said[comment_id]

    def _project_of(self, on: Subject) -> str:
        if on.bead_id:
            return self.get_bead(on.bead_id).project_id
        return self.get_project(on.project_id).id

    @staticmethod
    def _is_on(comment: Comment, on: Subject) -> bool:
        return (comment.bead_id or comment.project_id) == (on.bead_id or on.project_id)

    def _own(self, on: Subject, comment_id: str, author: str) -> Comment:
        found = self._said.get(comment_id)
        if found is None or not self._is_on(found, on):
            raise comments.missing(comment_id)
        check_own(found, author)
        return found
