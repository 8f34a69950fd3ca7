"""People, tokens, logins and the chain of the audit trail."""

from __future__ import annotations

from loom.control.answers.answer import Answer, Count, Moment, NextCursor, Path
from loom.domain.access import Role


class SelfLink(Answer):
    """Where something is."""

    self: Path


class UserOut(Answer):
    """A person. role: in every project. subject: who vouches for them, and by which name."""

    name: str
    role: Role | None
    projects: dict[str, Role]
    disabled: bool
    has_password: bool
    subject: str | None
    created_at: Moment
    last_login_at: Moment | None
    links: SelfLink


class UserPageOut(Answer):
    """Some users, by their names."""

    users: list[UserOut]
    next_cursor: NextCursor


class UserMadeOut(Answer):
    """A user, and the password that Loom made for them, if it did: nobody is told it again."""

    user: UserOut
    password: str | None


class PasswordOut(Answer):
    """The password that Loom made: nobody is told it again."""

    password: str


class TokenOut(Answer):
    """A program's token, without its secret."""

    id: str
    name: str
    role: Role | None
    projects: dict[str, Role]
    made_by: str
    created_at: Moment
    expires_at: Moment | None
    last_used_at: Moment | None
    revoked_at: Moment | None


class TokenPageOut(Answer):
    """Some tokens, newest first."""

    tokens: list[TokenOut]
    next_cursor: NextCursor


class TokenMadeOut(Answer):
    """A token: nobody is told it again."""

    token: str
    details: TokenOut


class SessionOut(Answer):
    """A login that has not ended."""

    id: str
    user: str
    method: str
    address: str
    agent: str
    created_at: Moment
    expires_at: Moment
    last_seen_at: Moment
    links: SelfLink


class SessionPageOut(Answer):
    """Some logins, newest first."""

    sessions: list[SessionOut]
    next_cursor: NextCursor


class MeOut(Answer):
    """Who asks. user: none for a program. login: the id of the session or token, if it has one."""

    name: str
    user: str | None
    role: Role | None
    projects: dict[str, Role]
    login: str | None


class HeadOut(Answer):
    """A line's place in the chain, and its hash."""

    place: Count
    hash: str


class VerdictOut(Answer):
    """What a look at the chain found. lines: how many hold. broken: the place of the first line
    that is not as it was written.
    """

    lines: Count
    head: HeadOut
    broken: Count | None
    why: str | None
