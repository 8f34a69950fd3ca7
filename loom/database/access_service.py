"""The AccessService over gRPC: requests in, commands on the ledger, answers out."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from loom.database.access import Access
from loom.database.steering import intervention
from loom.domain.account import User
from loom.domain.audit import Intervention
from loom.rpc import access
from loom.rpc.server import caller
from loom.rpc.v1 import access_pb2 as pb
from loom.rpc.v1 import access_pb2_grpc
from loom.rpc.v1.database_pb2 import Intervention as By
from loom.telemetry import traces

NAME = "loom.v1.AccessService"


class AccessService(access_pb2_grpc.AccessServiceServicer):
    """Every call of proto/loom/v1/access.proto; errors are raised as Loom's own."""

    def __init__(self, known: Access, left: Callable[[grpc.ServicerContext], float]) -> None:
        """left: the seconds until a call's deadline; raises Unavailable without a database."""
        self._known = known
        self._left = left

    def GetIdentity(
        self, request: pb.GetIdentityRequest, context: grpc.ServicerContext
    ) -> pb.GetIdentityResponse:
        found = self._known.identify(
            request.token_sha256, request.session_sha256, self._left(context)
        )
        return access.identity_to_pb(found)

    def GetLogin(
        self, request: pb.GetLoginRequest, context: grpc.ServicerContext
    ) -> pb.GetLoginResponse:
        password_hash, known = self._known.login(request.name, self._left(context))
        return pb.GetLoginResponse(password_hash=password_hash, known=known)

    def CreateUser(
        self, request: pb.CreateUserRequest, context: grpc.ServicerContext
    ) -> pb.CreateUserResponse:
        wanted = User(
            request.name,
            access.role_from_pb(request.role),
            access.projects_from_pb(request.projects),
        )
        by = _by(request.by)
        made = self._known.create_user(wanted, request.password_hash, by, self._left(context))
        return pb.CreateUserResponse(user=access.user_to_pb(made))

    def GetUser(
        self, request: pb.GetUserRequest, context: grpc.ServicerContext
    ) -> pb.GetUserResponse:
        found = self._known.get_user(request.name, self._left(context))
        return pb.GetUserResponse(user=access.user_to_pb(found))

    def ListUsers(
        self, request: pb.ListUsersRequest, context: grpc.ServicerContext
    ) -> pb.ListUsersResponse:
        found, cursor = self._known.list_users(
            request.page_size, request.cursor, self._left(context)
        )
        return pb.ListUsersResponse(users=map(access.user_to_pb, found), next_cursor=cursor)

    def AdmitUser(
        self, request: pb.AdmitUserRequest, context: grpc.ServicerContext
    ) -> pb.AdmitUserResponse:
        wanted = User(
            request.name,
            access.role_from_pb(request.role),
            access.projects_from_pb(request.projects),
            subject=request.subject,
        )
        user = self._known.admit_user(
            wanted, _by(request.by), self._left(context), decides_roles=request.decides_roles
        )
        return pb.AdmitUserResponse(user=access.user_to_pb(user))

    def GrantRole(
        self, request: pb.GrantRoleRequest, context: grpc.ServicerContext
    ) -> pb.GrantRoleResponse:
        role = access.role_from_pb(request.role)
        user = self._known.grant_role(
            request.name, request.project_id, role, _by(request.by), self._left(context)
        )
        return pb.GrantRoleResponse(user=access.user_to_pb(user))

    def SetPassword(
        self, request: pb.SetPasswordRequest, context: grpc.ServicerContext
    ) -> pb.SetPasswordResponse:
        user = self._known.set_password(
            request.name,
            request.password_hash,
            _by(request.by),
            request.rehashes,
            self._left(context),
        )
        return pb.SetPasswordResponse(user=access.user_to_pb(user))

    def EnableUser(
        self, request: pb.EnableUserRequest, context: grpc.ServicerContext
    ) -> pb.EnableUserResponse:
        user = self._known.enable_user(
            request.name, _by(request.by), self._left(context), enabled=request.enabled
        )
        return pb.EnableUserResponse(user=access.user_to_pb(user))

    def OpenSession(
        self, request: pb.OpenSessionRequest, context: grpc.ServicerContext
    ) -> pb.OpenSessionResponse:
        new = access.new_session_from_pb(request)
        session = self._known.open_session(new, _by(request.by), self._left(context))
        return pb.OpenSessionResponse(session=access.session_to_pb(session))

    def EndSession(
        self, request: pb.EndSessionRequest, context: grpc.ServicerContext
    ) -> pb.EndSessionResponse:
        session = self._known.end_session(
            request.id, request.user, _by(request.by), self._left(context)
        )
        return pb.EndSessionResponse(session=access.session_to_pb(session))

    def ListSessions(
        self, request: pb.ListSessionsRequest, context: grpc.ServicerContext
    ) -> pb.ListSessionsResponse:
        found, cursor = self._known.list_sessions(
            request.user, request.page_size, request.cursor, self._left(context)
        )
        return pb.ListSessionsResponse(
            sessions=map(access.session_to_pb, found), next_cursor=cursor
        )

    def CreateToken(
        self, request: pb.CreateTokenRequest, context: grpc.ServicerContext
    ) -> pb.CreateTokenResponse:
        new = access.new_token_from_pb(request)
        token = self._known.create_token(new, _by(request.by), self._left(context))
        return pb.CreateTokenResponse(token=access.token_to_pb(token))

    def RevokeToken(
        self, request: pb.RevokeTokenRequest, context: grpc.ServicerContext
    ) -> pb.RevokeTokenResponse:
        token = self._known.revoke_token(request.id, _by(request.by), self._left(context))
        return pb.RevokeTokenResponse(token=access.token_to_pb(token))

    def ListTokens(
        self, request: pb.ListTokensRequest, context: grpc.ServicerContext
    ) -> pb.ListTokensResponse:
        found, cursor = self._known.list_tokens(
            request.page_size, request.cursor, self._left(context)
        )
        return pb.ListTokensResponse(tokens=map(access.token_to_pb, found), next_cursor=cursor)

    def NoteRefusal(
        self, request: pb.NoteRefusalRequest, context: grpc.ServicerContext
    ) -> pb.NoteRefusalResponse:
        self._known.note_refusal(
            request.name, request.address, request.why, request.correlation_id, self._left(context)
        )
        return pb.NoteRefusalResponse()

    def ReadAudit(
        self, request: pb.ReadAuditRequest, context: grpc.ServicerContext
    ) -> pb.ReadAuditResponse:
        lines, head = self._known.read_audit(request.after, request.limit, self._left(context))
        return pb.ReadAuditResponse(
            lines=map(access.chained_to_pb, lines), head_place=head.place, head_hash=head.hash
        )


def _by(by: By) -> Intervention:
    return intervention(by, caller.get(), traces.traceparent())
