"""People, tokens, logins and the chained trail as the HTTP API's JSON, and back; and its calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import httpx

from loom.clients.answers import Page
from loom.clients.representation import API, time_from_json, time_to_json
from loom.domain.access import Role
from loom.domain.account import Session, Token, User
from loom.domain.audit import AuditLine
from loom.domain.auditchain import Chained, Head, Verdict
from loom.errors import Invalid

USERS, TOKENS, SESSIONS, ME = f"{API}/users", f"{API}/tokens", f"{API}/sessions", f"{API}/me"
EXPORT, VERIFY = f"{API}/audit/export", f"{API}/audit/verify"


def user_to_json(user: User) -> dict[str, Any]:
    """A person."""
    return {
        "name": user.name,
        "role": user.role.value if user.role else None,
        "projects": {id_: role.value for id_, role in sorted(user.projects.items())},
        "disabled": user.disabled,
        "has_password": user.has_password,
        "subject": user.subject or None,
        "created_at": time_to_json(user.created_at),
        "last_login_at": time_to_json(user.last_login_at),
        "links": {"self": f"{USERS}/{user.name}"},
    }


def user_from_json(document: Mapping[str, Any]) -> User:
    """A person."""
    return User(
        name=document["name"],
        role=_role(document["role"]),
        projects=_roles(document["projects"]),
        disabled=document["disabled"],
        has_password=document["has_password"],
        subject=document["subject"] or "",
        created_at=time_from_json(document["created_at"]),
        last_login_at=time_from_json(document["last_login_at"]),
    )


def token_to_json(token: Token) -> dict[str, Any]:
    """A program's token, without its secret."""
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role.value if token.role else None,
        "projects": {id_: role.value for id_, role in sorted(token.projects.items())},
        "made_by": token.made_by,
        "created_at": time_to_json(token.created_at),
        "expires_at": time_to_json(token.expires_at),
        "last_used_at": time_to_json(token.last_used_at),
        "revoked_at": time_to_json(token.revoked_at),
    }


def token_from_json(document: Mapping[str, Any]) -> Token:
    """A program's token, without its secret."""
    return Token(
        id=document["id"],
        name=document["name"],
        role=_role(document["role"]),
        projects=_roles(document["projects"]),
        made_by=document["made_by"],
        created_at=datetime.fromisoformat(document["created_at"]),
        expires_at=time_from_json(document["expires_at"]),
        last_used_at=time_from_json(document["last_used_at"]),
        revoked_at=time_from_json(document["revoked_at"]),
    )


def session_to_json(session: Session) -> dict[str, Any]:
    """A login that has not ended."""
    return {
        "id": session.id,
        "user": session.user,
        "method": session.method,
        "address": session.address,
        "agent": session.agent,
        "created_at": time_to_json(session.created_at),
        "expires_at": time_to_json(session.expires_at),
        "last_seen_at": time_to_json(session.last_seen_at),
        "links": {"self": f"{SESSIONS}/{session.id}"},
    }


def chained_to_json(each: Chained) -> dict[str, Any]:
    """A line of the trail at its place; what is hashed is all of it but the hash."""
    line = each.line
    return {
        "place": each.place,
        "previous": each.previous,
        "hash": each.hash,
        "id": line.id,
        "at": line.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": line.actor,
        "action": line.action,
        "target": line.target,
        "reason": line.reason,
        "correlation_id": line.correlation_id,
        "detail": dict(line.detail),
    }


def chained_from_json(document: Mapping[str, Any]) -> Chained:
    """A line of the trail at its place."""
    line = AuditLine(
        id=document["id"],
        at=datetime.fromisoformat(document["at"]),
        actor=document["actor"],
        action=document["action"],
        target=document["target"],
        reason=document["reason"],
        correlation_id=document["correlation_id"],
        detail=document["detail"],
    )
    return Chained(document["place"], document["previous"], document["hash"], line)


def read_export(lines: Iterator[str]) -> Iterator[Chained]:
    """The lines of an export. Raises Invalid for one that is none, by its number."""
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            yield chained_from_json(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Invalid(f"line {number} of the export cannot be read: {error!r}") from error


class AccountCalls:
    """Calls on people, tokens and the chained trail; ControlClient has the others."""

    _get: Callable[..., Any]
    _post: Callable[..., Any]
    _stream: Callable[..., AbstractContextManager[httpx.Response]]

    def list_users(self, limit: int = 100, cursor: str = "") -> Page[User]:
        """Users in the order of their names."""
        page = self._get(USERS, limit=limit, cursor=cursor)
        return Page(tuple(map(user_from_json, page["users"])), page["next_cursor"] or "")

    def create_user(
        self, name: str, role: Role | None, projects: Mapping[str, Role], password: str = ""
    ) -> tuple[User, str]:
        """Make a user, who has that password or the one that comes back. Raises Conflict."""
        asked = {"name": name, **_scope(role, projects)}
        answer = self._post(USERS, asked | ({"password": password} if password else {}), "").json()
        return user_from_json(answer["user"]), str(answer["password"] or "")

    def grant_role(self, name: str, role: Role, project_id: str = "") -> User:
        """Give a role in a project, or in every one. Raises NotFound."""
        asked = {"role": role.value} | ({"project": project_id} if project_id else {})
        return user_from_json(self._post(f"{USERS}/{name}/grant", asked, "").json())

    def revoke_role(self, name: str, project_id: str = "") -> User:
        """Take the role in a project away, or the one in every project. Raises NotFound."""
        asked = {"project": project_id} if project_id else {}
        return user_from_json(self._post(f"{USERS}/{name}/revoke", asked, "").json())

    def enable_user(self, name: str, *, enabled: bool) -> User:
        """Let a user in, or not any more. Raises NotFound."""
        act = "enable" if enabled else "disable"
        return user_from_json(self._post(f"{USERS}/{name}/{act}", {}, "").json())

    def reset_password(self, name: str) -> str:
        """A new password of the user, whose logins end. Raises NotFound."""
        return str(self._post(f"{USERS}/{name}/reset-password", {}, "").json()["password"])

    def list_tokens(self, limit: int = 100, cursor: str = "") -> Page[Token]:
        """Tokens, newest first."""
        page = self._get(TOKENS, limit=limit, cursor=cursor)
        return Page(tuple(map(token_from_json, page["tokens"])), page["next_cursor"] or "")

    def create_token(
        self, name: str, role: Role | None, projects: Mapping[str, Role],
        expires_in_s: float | None = None,
    ) -> tuple[Token, str]:  # fmt: skip
        """Make a token; it, and its text, which nobody is told again. Raises NotFound."""
        asked = {"name": name, **_scope(role, projects)}
        asked |= {"expires_in_s": expires_in_s} if expires_in_s else {}
        answer = self._post(TOKENS, asked, "").json()
        return token_from_json(answer["details"]), str(answer["token"])

    def revoke_token(self, id_: str) -> Token:
        """Revoke a token. Raises NotFound."""
        return token_from_json(self._post(f"{TOKENS}/{id_}/revoke", {}, "").json())

    def export_audit(self, after: int = 0) -> Iterator[str]:
        """The chained trail from a place on, a line of JSON each."""
        with self._stream(EXPORT, params={"after": after}) as answer:
            yield from answer.iter_lines()

    def verify_audit(self) -> Verdict:
        """Whether the trail is as it was written, as the server finds."""
        found = self._get(VERIFY)
        head = Head(found["head"]["place"], found["head"]["hash"])
        return Verdict(found["lines"], head, found["broken"] or 0, found["why"] or "")


def _scope(role: Role | None, projects: Mapping[str, Role]) -> dict[str, Any]:
    return {
        "role": role.value if role else None,
        "projects": {id_: each.value for id_, each in projects.items()},
    }


def _role(text: str | None) -> Role | None:
    return Role(text) if text else None


def _roles(projects: Mapping[str, str]) -> dict[str, Role]:
    return {id_: Role(role) for id_, role in projects.items()}
