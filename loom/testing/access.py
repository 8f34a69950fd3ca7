"""The part of FakeLedger about people, sessions, tokens and the chained trail."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

from loom.clients.answers import Page
from loom.database import cursor as cursors
from loom.database import people
from loom.database.access import check_lines, refusal
from loom.database.entrances import (
    KEPT_AGENT,
    LARGEST_PAGE,
    PAGE,
    check_session,
    check_token,
    no_session,
    no_token,
    token_facts,
    unknown,
)
from loom.domain.access import Principal, Role
from loom.domain.account import (
    Identity,
    NewSession,
    NewToken,
    Session,
    Token,
    User,
    check_digest,
    check_projects,
    check_user_name,
    token_actor,
)
from loom.domain.audit import AuditLine, Intervention, check_intervention
from loom.domain.auditchain import Chained, Head, chain
from loom.domain.project import Project
from loom.errors import Invalid, Stale

Made = TypeVar("Made", Session, Token)


class FakeAccess:
    """Calls on who may do what, on memory."""

    _lock: Any
    _now: datetime
    _tick: Callable[[], datetime]
    _trail: list[AuditLine]
    _note: Callable[..., None]
    get_project: Callable[[str], Project]

    def __init__(self) -> None:
        self._people: dict[str, User] = {}
        self._hashes: dict[str, str] = {}
        self._sessions: dict[str, tuple[Session, NewSession]] = {}
        self._ended: set[str] = set()
        self._tokens: dict[str, tuple[Token, str]] = {}

    def get_identity(self, *, token_sha256: str = "", session_sha256: str = "") -> Identity:
        """As the client."""
        check_digest(token_sha256 or session_sha256)
        if token_sha256 and session_sha256:
            raise Invalid("either a token's or a session's SHA-256 is needed", field="token_sha256")
        with self._lock:
            if token_sha256:
                return self._of_token(token_sha256)
            return self._of_session(session_sha256)

    def _of_token(self, sha256: str) -> Identity:
        for token, digest in self._tokens.values():
            gone = token.revoked_at or (token.expires_at and token.expires_at <= self._now)
            if digest == sha256 and not gone:
                self._tokens[token.id] = replace(token, last_used_at=self._now), digest
                name = token_actor(token.id, token.name)
                return Identity(token.id, Principal(name, token.role, token.projects))
        raise unknown()

    def _of_session(self, sha256: str) -> Identity:
        for session, new in self._sessions.values():
            if new.sha256 == sha256 and self._live(session, new):
                user = self._people[session.user]
                self._sessions[session.id] = replace(session, last_seen_at=self._now), new
                return Identity(
                    session.id, Principal(user.name, user.role, user.projects), user.name
                )
        raise unknown()

    def _live(self, session: Session, new: NewSession) -> bool:
        idle = session.last_seen_at + timedelta(seconds=new.idle_s)
        return (
            session.id not in self._ended
            and self._now < session.expires_at
            and self._now < idle
            and not self._people[session.user].disabled
        )

    def get_login(self, name: str) -> tuple[str, bool]:
        """As the client."""
        with self._lock:
            user = self._people.get(name)
            if user is None:
                return "", False
            return ("" if user.disabled else self._hashes[name]), True

    def create_user(self, wanted: User, password_hash: str, by: Intervention) -> User:
        """As the client."""
        check_intervention(by)
        check_user_name(wanted.name)
        people.check_hash(password_hash)
        self._check_grants(wanted.projects)
        with self._lock:
            if wanted.name in self._people:
                raise people.taken(wanted.name)
            made = replace(wanted, created_at=self._tick(), has_password=bool(password_hash))
            self._people[made.name], self._hashes[made.name] = made, password_hash
            self._note(by, "user.create", made.name, **people.rights(made))
            return made

    def get_user(self, name: str) -> User:
        """As the client."""
        with self._lock:
            if name not in self._people:
                raise people.missing(name)
            return self._people[name]

    def list_users(self, page_size: int = 100, cursor: str = "") -> Page[User]:
        """As the client."""
        size = cursors.page_size(page_size, PAGE, LARGEST_PAGE)
        after = str(cursors.read(cursor, str)[0]) if cursor else ""
        found = [user for name, user in sorted(self._people.items()) if name > after]
        more = cursors.write(found[size - 1].name) if len(found) > size else ""
        return Page(tuple(found[:size]), more)

    def admit_user(self, wanted: User, by: Intervention, *, decides_roles: bool) -> User:
        """As the client."""
        check_intervention(by)
        check_user_name(wanted.name)
        if not wanted.subject:
            raise Invalid("subject has to say who vouches for the user", field="subject")
        with self._lock:
            known = next((u for u in self._people.values() if u.subject == wanted.subject), None)
            if known is None:
                return self.create_user(wanted, "", by)
            same = (known.role, dict(known.projects)) == (wanted.role, dict(wanted.projects))
            if same or not decides_roles:
                return known
            after = replace(known, role=wanted.role, projects=check_projects(wanted.projects))
            self._people[known.name] = after
            self._note(by, "user.grant", known.name, **people.rights(wanted))
            return after

    def grant_role(self, name: str, project_id: str, role: Role | None, by: Intervention) -> User:
        """As the client."""
        check_intervention(by)
        with self._lock:
            before = self.get_user(name)
            if role is not None and project_id:
                self._check_grants({project_id: role})
            after = people.granted(before, project_id, role)
            if after != before:
                self._people[name] = after
                action = "user.grant" if role is not None else "user.revoke"
                self._note(by, action, name, project_id=project_id, role=role.value if role else "")
            return after

    def set_password(
        self, name: str, password_hash: str, by: Intervention, rehashes: str = ""
    ) -> User:
        """As the client."""
        check_intervention(by)
        if not people.check_hash(password_hash):
            raise Invalid("password_hash is empty", field="password_hash")
        with self._lock:
            user = self.get_user(name)
            if user.subject:
                raise Invalid(f"{name} logs in without a password here", field="name")
            if rehashes and self.get_login(name)[0] != rehashes:
                raise Stale(f"the password of {name} is another one by now")
            self._hashes[name] = password_hash
            if not rehashes:
                self._people[name] = replace(user, has_password=True)
                self._note(by, "user.password", name)
                self._end_all(name)
            return self._people[name]

    def enable_user(self, name: str, by: Intervention, *, enabled: bool) -> User:
        """As the client."""
        check_intervention(by)
        with self._lock:
            user = self.get_user(name)
            if user.disabled is enabled:
                self._people[name] = replace(user, disabled=not enabled)
                self._note(by, "user.enable" if enabled else "user.disable", name)
            if not enabled:
                self._end_all(name)
            return self._people[name]

    def open_session(self, new: NewSession, by: Intervention) -> Session:
        """As the client."""
        check_intervention(by)
        check_session(new)
        with self._lock:
            user = self.get_user(new.user)
            if user.disabled:
                raise Invalid(f"{new.user} is disabled", field="user")
            at = self._tick()
            self._people[new.user] = replace(user, last_login_at=at)
            session = Session(
                new.id, new.user, new.method, new.address, new.agent[:KEPT_AGENT], at,
                at + timedelta(seconds=new.life_s), at,
            )  # fmt: skip
            self._sessions[new.id] = session, new
            detail = {"session": new.id, "method": new.method, "address": new.address}
            self._note(by, "session.open", new.user, **detail)
            return session

    def end_session(self, id_: str, by: Intervention, user: str = "") -> Session:
        """As the client."""
        check_intervention(by)
        with self._lock:
            if id_ not in self._sessions or user not in ("", self._sessions[id_][0].user):
                raise no_session(id_)
            session, _ = self._sessions[id_]
            if id_ not in self._ended:
                self._ended.add(id_)
                self._note(by, "session.end", session.user, session=id_)
            return session

    def _end_all(self, name: str) -> None:
        self._ended |= {id_ for id_, (session, _) in self._sessions.items() if session.user == name}

    def list_sessions(
        self, user: str = "", page_size: int = 100, cursor: str = ""
    ) -> Page[Session]:
        """As the client."""
        found = [
            session
            for session, new in self._sessions.values()
            if user in ("", session.user) and self._live(session, new)
        ]
        return _page(found, page_size, cursor)

    def create_token(self, new: NewToken, by: Intervention) -> Token:
        """As the client."""
        check_intervention(by)
        check_token(new)
        self._check_grants(new.projects)
        with self._lock:
            made = Token(
                new.id, new.name, new.role, dict(new.projects), by.actor, self._tick(),
                new.expires_at,
            )  # fmt: skip
            self._tokens[new.id] = made, new.sha256
            self._note(by, "token.create", new.id, **token_facts(new))
            return made

    def revoke_token(self, id_: str, by: Intervention) -> Token:
        """As the client."""
        check_intervention(by)
        with self._lock:
            if id_ not in self._tokens:
                raise no_token(id_)
            token, digest = self._tokens[id_]
            if token.revoked_at is None:
                token = replace(token, revoked_at=self._now)
                self._tokens[id_] = token, digest
                self._note(by, "token.revoke", id_, name=token.name)
            return token

    def list_tokens(self, page_size: int = 100, cursor: str = "") -> Page[Token]:
        """As the client."""
        return _page([token for token, _ in self._tokens.values()], page_size, cursor)

    def note_refusal(self, name: str, address: str, why: str, correlation_id: str) -> None:
        """As the client."""
        by = refusal(why, correlation_id)
        with self._lock:
            self._note(by, "login.refuse", name, address=address)

    def read_audit(self, after: int = 0, limit: int = 500) -> tuple[tuple[Chained, ...], Head]:
        """As the client."""
        check_lines(after, limit)
        with self._lock:
            head, lines = Head(), list[Chained]()
            for line in self._trail:
                lines.append(chain(line, head))
                head = Head(lines[-1].place, lines[-1].hash)
            return tuple(lines[after : after + limit]), head

    def _check_grants(self, roles: Mapping[str, Role]) -> None:
        for project_id in check_projects(roles):
            self.get_project(project_id)


def _page(found: Sequence[Made], page_size: int, cursor: str) -> Page[Made]:
    size = cursors.page_size(page_size, PAGE, LARGEST_PAGE)
    before = cursors.read_moment(cursor) if cursor else None
    rest = sorted(
        (each for each in found if before is None or (each.created_at, each.id) < before),
        key=lambda each: (each.created_at, each.id),
        reverse=True,
    )
    last = rest[size - 1] if len(rest) > size else None
    more = cursors.write_moment(last.created_at, last.id) if last else ""
    return Page(tuple(rest[:size]), more)
