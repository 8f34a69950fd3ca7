"""Who may do what: the commands on people, sessions, tokens and the audit trail's chain."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from loom.database import audit, entrances, people, tables
from loom.database.steering import Run
from loom.domain.access import Role
from loom.domain.account import Identity, NewSession, NewToken, Session, Token, User
from loom.domain.audit import AuditLine, Intervention
from loom.domain.auditchain import Chained, Head
from loom.errors import Invalid

MOST_LINES = 1_000
NOBODY = "somebody"
"""Whom the trail tells of a refused login: it is not known who it was."""


class Access:
    """Commands, each in one transaction."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def identify(self, token: str, session: str, time_left_s: float) -> Identity:
        """Whose token or session has this SHA-256. Raises NotFound."""
        return self._run(lambda c: entrances.identify(c, token, session), time_left_s)

    def login(self, name: str, time_left_s: float) -> tuple[str, bool]:
        """The hash that a password is compared with, and whether there is such a user."""
        return self._run(lambda c: people.login(c, name), time_left_s)

    def create_user(
        self, wanted: User, password_hash: str, by: Intervention, time_left_s: float
    ) -> User:
        """Make a user. Raises Conflict, NotFound (a project)."""
        return self._run(lambda c: people.create(c, wanted, password_hash, by), time_left_s)

    def get_user(self, name: str, time_left_s: float) -> User:
        """One user. Raises NotFound."""
        return self._run(lambda c: people.get(c, name), time_left_s)

    def list_users(
        self, size: int, cursor: str, time_left_s: float
    ) -> tuple[tuple[User, ...], str]:
        """Users in the order of their names, and the next cursor."""
        return self._run(lambda c: people.page(c, size, cursor), time_left_s)

    def admit_user(
        self, wanted: User, by: Intervention, time_left_s: float, *, decides_roles: bool
    ) -> User:
        """Whom another issuer vouches for. Raises Conflict (the name)."""
        return self._run(
            lambda c: people.admit(c, wanted, by, decides_roles=decides_roles), time_left_s
        )

    def grant_role(
        self, name: str, project_id: str, role: Role | None, by: Intervention, time_left_s: float
    ) -> User:
        """Give a role, or take it away. Raises NotFound."""
        return self._run(lambda c: people.grant(c, name, project_id, role, by), time_left_s)

    def set_password(
        self, name: str, password_hash: str, by: Intervention, rehashes: str, time_left_s: float
    ) -> User:
        """Take another password, which ends the user's sessions. Raises NotFound, Stale."""

        def work(connection: Connection) -> User:
            user = people.set_password(connection, name, password_hash, by, rehashes)
            if not rehashes:
                entrances.end_sessions(connection, name)
            return user

        return self._run(work, time_left_s)

    def enable_user(
        self, name: str, by: Intervention, time_left_s: float, *, enabled: bool
    ) -> User:
        """Let a user in, or end their sessions and let them in no more. Raises NotFound."""

        def work(connection: Connection) -> User:
            user = people.enable(connection, name, by, enabled=enabled)
            if not enabled:
                entrances.end_sessions(connection, name)
            return user

        return self._run(work, time_left_s)

    def open_session(self, new: NewSession, by: Intervention, time_left_s: float) -> Session:
        """Open a session for a user. Raises NotFound, Invalid for a disabled one."""
        return self._run(lambda c: entrances.open_session(c, new, by), time_left_s)

    def end_session(self, id_: str, user: str, by: Intervention, time_left_s: float) -> Session:
        """End a session. Raises NotFound."""
        return self._run(lambda c: entrances.end_session(c, id_, user, by), time_left_s)

    def list_sessions(
        self, user: str, size: int, cursor: str, time_left_s: float
    ) -> tuple[tuple[Session, ...], str]:
        """Sessions that have not ended, newest first, and the next cursor."""
        return self._run(lambda c: entrances.sessions(c, user, size, cursor), time_left_s)

    def create_token(self, new: NewToken, by: Intervention, time_left_s: float) -> Token:
        """Keep a token. Raises NotFound (a project)."""
        return self._run(lambda c: entrances.create_token(c, new, by), time_left_s)

    def revoke_token(self, id_: str, by: Intervention, time_left_s: float) -> Token:
        """Revoke a token. Raises NotFound."""
        return self._run(lambda c: entrances.revoke_token(c, id_, by), time_left_s)

    def list_tokens(
        self, size: int, cursor: str, time_left_s: float
    ) -> tuple[tuple[Token, ...], str]:
        """Tokens, newest first, and the next cursor."""
        return self._run(lambda c: entrances.tokens(c, size, cursor), time_left_s)

    def note_refusal(
        self, name: str, address: str, why: str, correlation_id: str, time_left_s: float
    ) -> None:
        """Write a refused login into the trail."""
        by = refusal(why, correlation_id)
        self._run(
            lambda c: audit.note(c, by, "login.refuse", name, {"address": address}), time_left_s
        )

    def read_audit(
        self, after: int, limit: int, time_left_s: float
    ) -> tuple[Sequence[Chained], Head]:
        """Lines after a place of the chain, and the chain's head."""
        check_lines(after, limit)
        return self._run(lambda c: _chained(c, after, limit), time_left_s)


def refusal(why: str, correlation_id: str) -> Intervention:
    """Who was refused, and why; raises Invalid."""
    if "\0" in why + correlation_id or len(why) > 200:
        raise Invalid("why has to be text of at most 200 characters", field="why")
    return Intervention(NOBODY, why, correlation_id)


def check_lines(after: int, limit: int) -> None:
    """Raise Invalid for a stretch of the trail that cannot be read."""
    if after < 0 or not 1 <= limit <= MOST_LINES:
        raise Invalid(f"limit has to be 1 to {MOST_LINES}, and after a place", field="limit")


def _chained(connection: Connection, after: int, limit: int) -> tuple[Sequence[Chained], Head]:
    link, line, head = tables.audit_chain, tables.audit, tables.audit_head
    # The head first: a line that comes in between is beyond it, and not missing.
    newest = connection.execute(select(head.c.place, head.c.hash)).one_or_none()
    end = Head(newest.place, newest.hash) if newest else Head()
    statement = (
        select(link.c.place, link.c.previous, link.c.hash, *line.c)
        .join_from(link, line, link.c.audit_id == line.c.id)
        .where(link.c.place > after, link.c.place <= end.place)
        .order_by(link.c.place)
        .limit(limit)
    )
    found = []
    for row in connection.execute(statement).mappings():
        facts = {column.name: row[column] for column in line.c}
        place, previous, hash_ = (
            row[column] for column in (link.c.place, link.c.previous, link.c.hash)
        )
        found.append(Chained(place, previous, hash_, AuditLine(**facts)))
    return found, end
