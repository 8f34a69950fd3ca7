"""Comments as the HTTP API's JSON, and the calls of the API about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import httpx

from loom.clients.answers import Filed, Page
from loom.clients.representation import bead_path, project_path, time_from_json, time_to_json
from loom.domain.comment import Comment


def comments_path(project_id: str, bead_id: str = "") -> str:
    """Where the comments on a bead, or on a project, are."""
    return f"{bead_path(bead_id) if bead_id else project_path(project_id)}/comments"


def comment_to_json(comment: Comment) -> dict[str, Any]:
    """What somebody said."""
    return {
        "id": comment.id,
        "project_id": comment.project_id,
        "bead_id": comment.bead_id or None,
        "author": comment.author,
        "text": comment.text,
        "created_at": time_to_json(comment.created_at),
        "edited_at": time_to_json(comment.edited_at),
        "deleted_at": time_to_json(comment.deleted_at),
        "source": comment.source,
        "links": {"self": f"{comments_path(comment.project_id, comment.bead_id)}/{comment.id}"},
    }


def comment_from_json(document: Mapping[str, Any]) -> Comment:
    """What somebody said."""
    made = time_from_json(document["created_at"])
    assert made is not None  # noqa: S101 - every comment has it
    return Comment(
        id=document["id"],
        project_id=document["project_id"],
        bead_id=document["bead_id"] or "",
        author=document["author"],
        text=document["text"],
        created_at=made,
        edited_at=time_from_json(document["edited_at"]),
        deleted_at=time_from_json(document["deleted_at"]),
        source=document["source"],
    )


class CommentingCalls:
    """Calls about comments; ControlClient has the others."""

    _get: Callable[..., Any]
    _post: Callable[..., httpx.Response]
    _ask: Callable[..., httpx.Response]

    def add_comment(
        self, text: str, *, project_id: str = "", bead_id: str = "", idempotency_key: str = ""
    ) -> Filed[Comment]:
        """Say something of a bead, or of a project. Raises NotFound, Invalid."""
        path = comments_path(project_id, bead_id)
        answer = self._post(path, {"text": text}, idempotency_key)
        replayed = answer.headers.get("Idempotency-Replayed") == "true"
        return Filed((comment_from_json(answer.json()),), replayed)

    def list_comments(
        self, *, project_id: str = "", bead_id: str = "", limit: int = 50, cursor: str = ""
    ) -> Page[Comment]:
        """Oldest first. Raises NotFound."""
        page = self._get(comments_path(project_id, bead_id), limit=limit, cursor=cursor)
        return Page(tuple(map(comment_from_json, page["comments"])), page["next_cursor"] or "")

    def edit_comment(self, comment: Comment, text: str) -> Comment:
        """Write one's own anew. Raises NotFound, Forbidden, IllegalTransition, Invalid."""
        path = f"{comments_path(comment.project_id, comment.bead_id)}/{comment.id}"
        return comment_from_json(self._ask("PATCH", path, json={"text": text}).json())

    def delete_comment(self, comment: Comment) -> Comment:
        """Take the text of one's own away. Raises NotFound, Forbidden, IllegalTransition."""
        path = f"{comments_path(comment.project_id, comment.bead_id)}/{comment.id}"
        return comment_from_json(self._ask("DELETE", path).json())
