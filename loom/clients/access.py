"""The calls of the database service about people, sessions, tokens and the chained trail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.clients.answers import Page
from loom.domain.access import Role
from loom.domain.account import Identity, NewSession, NewToken, Session, Token, User
from loom.domain.audit import Intervention
from loom.domain.auditchain import Chained, Head
from loom.rpc import access, codec
from loom.rpc.v1 import access_pb2 as pb
from loom.rpc.v1 import access_pb2_grpc


class AccessCalls:
    """Calls of the AccessService; DatabaseClient has the others."""

    _access: access_pb2_grpc.AccessServiceStub
    _call: Callable[..., Any]

    def get_identity(self, *, token_sha256: str = "", session_sha256: str = "") -> Identity:
        """Whose token or session it is. Raises NotFound."""
        request = pb.GetIdentityRequest(token_sha256=token_sha256, session_sha256=session_sha256)
        return access.identity_from_pb(self._call(self._access.GetIdentity, request))

    def get_login(self, name: str) -> tuple[str, bool]:
        """The hash to compare a password with, if any, and whether there is such a user."""
        answer = self._call(self._access.GetLogin, pb.GetLoginRequest(name=name))
        return str(answer.password_hash), bool(answer.known)

    def create_user(self, wanted: User, password_hash: str, by: Intervention) -> User:
        """Make a user. Raises Conflict, NotFound (a project), Invalid."""
        request = pb.CreateUserRequest(
            name=wanted.name,
            role=access.role_to_pb(wanted.role),
            projects=access.projects_to_pb(wanted.projects),
            password_hash=password_hash,
            by=codec.intervention_to_pb(by),
        )
        return access.user_from_pb(self._call(self._access.CreateUser, request).user)

    def get_user(self, name: str) -> User:
        """One user. Raises NotFound."""
        answer = self._call(self._access.GetUser, pb.GetUserRequest(name=name))
        return access.user_from_pb(answer.user)

    def list_users(self, page_size: int = 100, cursor: str = "") -> Page[User]:
        """Users in the order of their names."""
        request = pb.ListUsersRequest(page_size=page_size, cursor=cursor)
        answer = self._call(self._access.ListUsers, request)
        return Page(tuple(map(access.user_from_pb, answer.users)), answer.next_cursor)

    def admit_user(self, wanted: User, by: Intervention, *, decides_roles: bool) -> User:
        """Whom another issuer vouches for, as its subject. Raises Conflict (the name)."""
        request = pb.AdmitUserRequest(
            subject=wanted.subject,
            name=wanted.name,
            role=access.role_to_pb(wanted.role),
            projects=access.projects_to_pb(wanted.projects),
            decides_roles=decides_roles,
            by=codec.intervention_to_pb(by),
        )
        return access.user_from_pb(self._call(self._access.AdmitUser, request).user)

    def grant_role(self, name: str, project_id: str, role: Role | None, by: Intervention) -> User:
        """Give a role in a project (empty: in all); None takes it away. Raises NotFound."""
        request = pb.GrantRoleRequest(
            name=name,
            project_id=project_id,
            role=access.role_to_pb(role),
            by=codec.intervention_to_pb(by),
        )
        return access.user_from_pb(self._call(self._access.GrantRole, request).user)

    def set_password(
        self, name: str, password_hash: str, by: Intervention, rehashes: str = ""
    ) -> User:
        """Take another password, which ends the user's sessions. rehashes: it is the same password,
        hashed anew. Raises NotFound, Stale, Invalid."""
        request = pb.SetPasswordRequest(
            name=name,
            password_hash=password_hash,
            rehashes=rehashes,
            by=codec.intervention_to_pb(by),
        )
        return access.user_from_pb(self._call(self._access.SetPassword, request).user)

    def enable_user(self, name: str, by: Intervention, *, enabled: bool) -> User:
        """Let a user in, or end their sessions and let them in no more. Raises NotFound."""
        request = pb.EnableUserRequest(name=name, enabled=enabled, by=codec.intervention_to_pb(by))
        return access.user_from_pb(self._call(self._access.EnableUser, request).user)

    def open_session(self, new: NewSession, by: Intervention) -> Session:
        """Open a session for a user. Raises NotFound, Invalid for a disabled one."""
        request = access.new_session_to_pb(new, by)
        return access.session_from_pb(self._call(self._access.OpenSession, request).session)

    def end_session(self, id_: str, by: Intervention, user: str = "") -> Session:
        """End a session, if it is that user's. Raises NotFound."""
        request = pb.EndSessionRequest(id=id_, user=user, by=codec.intervention_to_pb(by))
        return access.session_from_pb(self._call(self._access.EndSession, request).session)

    def list_sessions(
        self, user: str = "", page_size: int = 100, cursor: str = ""
    ) -> Page[Session]:
        """Sessions that have not ended, newest first."""
        request = pb.ListSessionsRequest(user=user, page_size=page_size, cursor=cursor)
        answer = self._call(self._access.ListSessions, request)
        return Page(tuple(map(access.session_from_pb, answer.sessions)), answer.next_cursor)

    def create_token(self, new: NewToken, by: Intervention) -> Token:
        """Keep a token. Raises NotFound (a project), Invalid."""
        request = access.new_token_to_pb(new, by)
        return access.token_from_pb(self._call(self._access.CreateToken, request).token)

    def revoke_token(self, id_: str, by: Intervention) -> Token:
        """Revoke a token. Raises NotFound."""
        request = pb.RevokeTokenRequest(id=id_, by=codec.intervention_to_pb(by))
        return access.token_from_pb(self._call(self._access.RevokeToken, request).token)

    def list_tokens(self, page_size: int = 100, cursor: str = "") -> Page[Token]:
        """Tokens, newest first."""
        request = pb.ListTokensRequest(page_size=page_size, cursor=cursor)
        answer = self._call(self._access.ListTokens, request)
        return Page(tuple(map(access.token_from_pb, answer.tokens)), answer.next_cursor)

    def note_refusal(self, name: str, address: str, why: str, correlation_id: str) -> None:
        """Write a refused login into the trail; name: empty unless there is such a user."""
        request = pb.NoteRefusalRequest(
            name=name, address=address, why=why, correlation_id=correlation_id
        )
        self._call(self._access.NoteRefusal, request)

    def read_audit(self, after: int = 0, limit: int = 500) -> tuple[tuple[Chained, ...], Head]:
        """Lines after a place of the chain, oldest first, and the chain's head."""
        answer = self._call(self._access.ReadAudit, pb.ReadAuditRequest(after=after, limit=limit))
        head = Head(answer.head_place, answer.head_hash)
        return tuple(map(access.chained_from_pb, answer.lines)), head
