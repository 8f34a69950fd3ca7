"""Comments as the contract's messages, and back."""

from __future__ import annotations

from loom.domain.comment import Comment
from loom.rpc import codec
from loom.rpc.v1 import comments_pb2 as pb


def comment_to_pb(comment: Comment) -> pb.Comment:
    """What somebody said."""
    return pb.Comment(
        id=comment.id,
        project_id=comment.project_id,
        bead_id=comment.bead_id,
        author=comment.author,
        text=comment.text,
        created_at=codec.stamp(comment.created_at),
        edited_at=codec.stamp(comment.edited_at),
        deleted_at=codec.stamp(comment.deleted_at),
        source=comment.source,
    )


def comment_from_pb(comment: pb.Comment) -> Comment:
    """What somebody said."""
    return Comment(
        id=comment.id,
        project_id=comment.project_id,
        bead_id=comment.bead_id,
        author=comment.author,
        text=comment.text,
        created_at=codec.moment(comment.created_at),
        edited_at=codec.moment(comment.edited_at) if comment.HasField("edited_at") else None,
        deleted_at=codec.moment(comment.deleted_at) if comment.HasField("deleted_at") else None,
        source=comment.source,
    )
