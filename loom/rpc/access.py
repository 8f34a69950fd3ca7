"""People, sessions, tokens and the chained trail as messages of the contract, and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from loom.domain.access import Principal, Role
from loom.domain.account import Identity, NewSession, NewToken, Session, Token, User
from loom.domain.audit import Intervention
from loom.domain.auditchain import Chained
from loom.errors import Invalid
from loom.rpc import codec
from loom.rpc.v1 import access_pb2 as pb


def role_to_pb(role: Role | None) -> str:
    """A role; empty for none."""
    return role.value if role else ""


def role_from_pb(text: str) -> Role | None:
    """A role; None for an empty one. Raises Invalid."""
    try:
        return Role(text) if text else None
    except ValueError as error:
        known = ", ".join(Role)
        raise Invalid(f"{text[:40]!r} is no role: {known}", field="role") from error


def projects_to_pb(projects: Mapping[str, Role]) -> dict[str, str]:
    """Roles in single projects."""
    return {id_: role.value for id_, role in projects.items()}


def projects_from_pb(projects: Mapping[str, str]) -> dict[str, Role]:
    """Roles in single projects. Raises Invalid."""
    found = {id_: role_from_pb(role) for id_, role in projects.items()}
    return {id_: role for id_, role in found.items() if role is not None}


def user_to_pb(user: User) -> pb.User:
    """A person."""
    return pb.User(
        name=user.name,
        role=role_to_pb(user.role),
        projects=projects_to_pb(user.projects),
        disabled=user.disabled,
        has_password=user.has_password,
        subject=user.subject,
        created_at=_stamp(user.created_at),
        last_login_at=_stamp(user.last_login_at),
    )


def user_from_pb(user: pb.User) -> User:
    """A person."""
    return User(
        name=user.name,
        role=role_from_pb(user.role),
        projects=projects_from_pb(user.projects),
        disabled=user.disabled,
        has_password=user.has_password,
        subject=user.subject,
        created_at=codec.moment(user.created_at) if user.HasField("created_at") else None,
        last_login_at=codec.moment(user.last_login_at) if user.HasField("last_login_at") else None,
    )


def session_to_pb(session: Session) -> pb.Session:
    """A login that has not ended."""
    return pb.Session(
        id=session.id,
        user=session.user,
        method=session.method,
        address=session.address,
        agent=session.agent,
        created_at=codec.stamp(session.created_at),
        expires_at=codec.stamp(session.expires_at),
        last_seen_at=codec.stamp(session.last_seen_at),
    )


def session_from_pb(session: pb.Session) -> Session:
    """A login that has not ended."""
    return Session(
        id=session.id,
        user=session.user,
        method=session.method,
        address=session.address,
        agent=session.agent,
        created_at=codec.moment(session.created_at),
        expires_at=codec.moment(session.expires_at),
        last_seen_at=codec.moment(session.last_seen_at),
    )


def new_session_to_pb(new: NewSession, by: Intervention) -> pb.OpenSessionRequest:
    """A session to be opened."""
    return pb.OpenSessionRequest(
        id=new.id,
        user=new.user,
        sha256=new.sha256,
        method=new.method,
        address=new.address,
        agent=new.agent,
        life_s=new.life_s,
        idle_s=new.idle_s,
        by=codec.intervention_to_pb(by),
    )


def new_session_from_pb(new: pb.OpenSessionRequest) -> NewSession:
    """A session to be opened."""
    return NewSession(
        id=new.id,
        user=new.user,
        sha256=new.sha256,
        method=new.method,
        address=new.address,
        agent=new.agent,
        life_s=new.life_s,
        idle_s=new.idle_s,
    )


def token_to_pb(token: Token) -> pb.AccessToken:
    """A program's token."""
    return pb.AccessToken(
        id=token.id,
        name=token.name,
        role=role_to_pb(token.role),
        projects=projects_to_pb(token.projects),
        made_by=token.made_by,
        created_at=codec.stamp(token.created_at),
        expires_at=_stamp(token.expires_at),
        last_used_at=_stamp(token.last_used_at),
        revoked_at=_stamp(token.revoked_at),
    )


def token_from_pb(token: pb.AccessToken) -> Token:
    """A program's token."""
    return Token(
        id=token.id,
        name=token.name,
        role=role_from_pb(token.role),
        projects=projects_from_pb(token.projects),
        made_by=token.made_by,
        created_at=codec.moment(token.created_at),
        expires_at=codec.moment(token.expires_at) if token.HasField("expires_at") else None,
        last_used_at=codec.moment(token.last_used_at) if token.HasField("last_used_at") else None,
        revoked_at=codec.moment(token.revoked_at) if token.HasField("revoked_at") else None,
    )


def new_token_to_pb(new: NewToken, by: Intervention) -> pb.CreateTokenRequest:
    """A token to be kept."""
    return pb.CreateTokenRequest(
        id=new.id,
        name=new.name,
        sha256=new.sha256,
        role=role_to_pb(new.role),
        projects=projects_to_pb(new.projects),
        expires_at=_stamp(new.expires_at),
        by=codec.intervention_to_pb(by),
    )


def new_token_from_pb(new: pb.CreateTokenRequest) -> NewToken:
    """A token to be kept. Raises Invalid."""
    return NewToken(
        id=new.id,
        name=new.name,
        sha256=new.sha256,
        role=role_from_pb(new.role),
        projects=projects_from_pb(new.projects),
        expires_at=codec.moment(new.expires_at) if new.HasField("expires_at") else None,
    )


def identity_to_pb(found: Identity) -> pb.GetIdentityResponse:
    """Whose token or session it is."""
    return pb.GetIdentityResponse(
        id=found.id,
        name=found.principal.name,
        role=role_to_pb(found.principal.role),
        projects=projects_to_pb(found.principal.projects),
        user=found.user,
    )


def identity_from_pb(found: pb.GetIdentityResponse) -> Identity:
    """Whose token or session it is."""
    roles = role_from_pb(found.role), projects_from_pb(found.projects)
    return Identity(found.id, Principal(found.name, *roles), found.user)


def chained_to_pb(each: Chained) -> pb.ChainedLine:
    """A line of the trail at its place."""
    return pb.ChainedLine(
        place=each.place,
        previous=each.previous,
        hash=each.hash,
        line=codec.audit_line_to_pb(each.line),
    )


def chained_from_pb(each: pb.ChainedLine) -> Chained:
    """A line of the trail at its place."""
    return Chained(each.place, each.previous, each.hash, codec.audit_line_from_pb(each.line))


def _stamp(moment: datetime | None) -> Timestamp | None:
    return codec.stamp(moment) if moment else None
