"""The CommentService over gRPC: requests in, commands on the ledger, answers out."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from loom.database.comments import Comments
from loom.rpc.comments import comment_to_pb
from loom.rpc.v1 import comments_pb2 as pb
from loom.rpc.v1 import comments_pb2_grpc

NAME = "loom.v1.CommentService"


class CommentService(comments_pb2_grpc.CommentServiceServicer):
    """Every call of proto/loom/v1/comments.proto; errors are raised as Loom's own."""

    def __init__(self, comments: Comments, left: Callable[[grpc.ServicerContext], float]) -> None:
        """left: the seconds until a call's deadline; raises Unavailable without a database."""
        self._comments = comments
        self._left = left

    def AddComment(
        self, request: pb.AddCommentRequest, context: grpc.ServicerContext
    ) -> pb.AddCommentResponse:
        return self._comments.add(request, self._left(context))

    def ListComments(
        self, request: pb.ListCommentsRequest, context: grpc.ServicerContext
    ) -> pb.ListCommentsResponse:
        found, cursor = self._comments.page(request, self._left(context))
        return pb.ListCommentsResponse(comments=map(comment_to_pb, found), next_cursor=cursor)

    def EditComment(
        self, request: pb.EditCommentRequest, context: grpc.ServicerContext
    ) -> pb.EditCommentResponse:
        edited = self._comments.edit(request, self._left(context))
        return pb.EditCommentResponse(comment=comment_to_pb(edited))

    def DeleteComment(
        self, request: pb.DeleteCommentRequest, context: grpc.ServicerContext
    ) -> pb.DeleteCommentResponse:
        deleted = self._comments.delete(request, self._left(context))
        return pb.DeleteCommentResponse(comment=comment_to_pb(deleted))
