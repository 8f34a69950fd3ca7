"""What somebody gets in with: sessions of people and tokens of programs, by their hashes alone."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from loom.database import audit, cursor, people, tables
from loom.domain.access import Principal, Role
from loom.domain.account import (
    SEEN_S,
    Identity,
    NewSession,
    NewToken,
    Session,
    Token,
    check_digest,
    check_token_name,
    token_actor,
)
from loom.domain.audit import Intervention
from loom.errors import Invalid, NotFound

PAGE, LARGEST_PAGE = 100, 500
METHODS = ("password", "oidc")
LONGEST_LIFE_S = 366 * 86_400.0
KEPT_AGENT = 200

_BY_TOKEN = text(
    """
    SELECT id, name, role, projects,
           last_used_at IS NULL OR last_used_at < clock_timestamp() - :seen_s * interval '1 second'
               AS unseen
      FROM access_token
     WHERE digest = :digest AND revoked_at IS NULL
       AND (expires_at IS NULL OR expires_at > clock_timestamp())
    """
)
_BY_SESSION = text(
    """
    SELECT s.id, p.name, p.role, p.projects,
           s.last_seen_at < clock_timestamp() - :seen_s * interval '1 second' AS unseen
      FROM session s JOIN person p ON p.name = s.person
     WHERE s.digest = :digest AND s.ended_at IS NULL AND NOT p.disabled
       AND s.expires_at > clock_timestamp()
       AND s.last_seen_at > clock_timestamp() - s.idle_s * interval '1 second'
    """
)
_TOKEN_SEEN = text("UPDATE access_token SET last_used_at = clock_timestamp() WHERE id = :id")
_SESSION_SEEN = text("UPDATE session SET last_seen_at = clock_timestamp() WHERE id = :id")
_FORGET = text(
    "DELETE FROM session WHERE least(ended_at, expires_at) < clock_timestamp() - interval '30 days'"
)
_LIVE = text(
    "ended_at IS NULL AND expires_at > clock_timestamp() "
    "AND last_seen_at > clock_timestamp() - idle_s * interval '1 second'"
)
_SESSION = tuple(
    tables.session.c[name].label("user" if name == "person" else name)
    for name in (
        "id", "person", "method", "address", "agent", "created_at", "expires_at", "last_seen_at",
    )
)  # fmt: skip
_TOKEN = tuple(column for column in tables.access_token.c if column.name != "digest")


def identify(connection: Connection, token: str, session: str) -> Identity:
    """Whose token or session has this SHA-256; its use is noted. Raises NotFound."""
    if bool(token) == bool(session):
        raise Invalid("either a token's or a session's SHA-256 is needed", field="token_sha256")
    words = {"digest": check_digest(token or session), "seen_s": SEEN_S}
    row = connection.execute(_BY_TOKEN if token else _BY_SESSION, words).mappings().one_or_none()
    if row is None:
        raise unknown()
    if row["unseen"]:
        connection.execute(_TOKEN_SEEN if token else _SESSION_SEEN, {"id": row["id"]})
    name = token_actor(row["id"], row["name"]) if token else row["name"]
    principal = Principal(name, _role(row["role"]), _roles(row["projects"]))
    return Identity(row["id"], principal, "" if token else row["name"])


def open_session(connection: Connection, new: NewSession, by: Intervention) -> Session:
    """Open a session for a user. Raises NotFound, Invalid."""
    check_session(new)
    user = people.logged_in(connection, new.user)
    connection.execute(_FORGET)
    life = text("clock_timestamp() + :life_s * interval '1 second'").bindparams(life_s=new.life_s)
    connection.execute(
        insert(tables.session).values(
            id=new.id,
            person=user.name,
            digest=new.sha256,
            method=new.method,
            address=new.address,
            agent=new.agent[:KEPT_AGENT].replace("\0", ""),
            idle_s=new.idle_s,
            expires_at=life,
        )
    )
    detail = {"session": new.id, "method": new.method, "address": new.address}
    audit.note(connection, by, "session.open", user.name, detail)
    return _session(connection, new.id)


def end_session(connection: Connection, id_: str, user: str, by: Intervention) -> Session:
    """End a session; nothing changes if it has ended. Raises NotFound."""
    found = _session(connection, id_)
    if user and found.user != user:
        raise no_session(id_)
    if _end(connection, tables.session.c.id == id_):
        audit.note(connection, by, "session.end", found.user, {"session": id_})
    return found


def end_sessions(connection: Connection, user: str) -> int:
    """End every session of a user; how many."""
    return _end(connection, tables.session.c.person == user)


def _end(connection: Connection, whose: Any) -> int:
    statement = (
        update(tables.session)
        .where(whose, tables.session.c.ended_at.is_(None))
        .values(ended_at=func.clock_timestamp())
    )
    return int(connection.execute(statement).rowcount)


def sessions(
    connection: Connection, user: str, size: int, after: str
) -> tuple[tuple[Session, ...], str]:
    """Sessions that have not ended, newest first, and the next cursor."""
    size = cursor.page_size(size, PAGE, LARGEST_PAGE)
    table = tables.session
    statement = select(*_SESSION).where(_LIVE).order_by(
        table.c.created_at.desc(), table.c.id.desc()
    )  # fmt: skip
    if user:
        statement = statement.where(table.c.person == user.replace("\0", ""))
    statement = _after(statement, table, after)
    found = [Session(**row) for row in connection.execute(statement.limit(size + 1)).mappings()]
    return _cut(found, size)


def create_token(connection: Connection, new: NewToken, by: Intervention) -> Token:
    """Keep a token. Raises NotFound (a project), Invalid."""
    check_token(new)
    people.check_grants(connection, new.projects)
    table = tables.access_token
    connection.execute(
        insert(table).values(
            id=new.id,
            name=new.name,
            digest=new.sha256,
            role=new.role,
            projects=dict(new.projects),
            made_by=by.actor,
            expires_at=new.expires_at,
        )
    )
    audit.note(connection, by, "token.create", new.id, token_facts(new))
    return _token(connection, new.id)


def revoke_token(connection: Connection, id_: str, by: Intervention) -> Token:
    """Revoke a token; nothing changes if it is. Raises NotFound."""
    before = _token(connection, id_)
    table = tables.access_token
    statement = (
        update(table)
        .where(table.c.id == id_, table.c.revoked_at.is_(None))
        .values(revoked_at=func.clock_timestamp())
    )
    if connection.execute(statement).rowcount:
        audit.note(connection, by, "token.revoke", id_, {"name": before.name})
    return _token(connection, id_)


def tokens(connection: Connection, size: int, after: str) -> tuple[tuple[Token, ...], str]:
    """Tokens, newest first, and the next cursor."""
    size = cursor.page_size(size, PAGE, LARGEST_PAGE)
    table = tables.access_token
    statement = select(*_TOKEN).order_by(table.c.created_at.desc(), table.c.id.desc())
    statement = _after(statement, table, after).limit(size + 1)
    found = [_of_row(row) for row in connection.execute(statement).mappings()]
    return _cut(found, size)


def check_session(new: NewSession) -> None:
    """Raise Invalid for a session that cannot be opened."""
    check_digest(new.sha256)
    if new.method not in METHODS:
        raise Invalid(f"method has to be one of {', '.join(METHODS)}", field="method")
    if not 0 < new.idle_s <= new.life_s <= LONGEST_LIFE_S:
        raise Invalid("a session lasts for up to a year, and may idle for as long", field="life_s")
    if not new.id or "\0" in new.id + new.address:
        raise Invalid("a session needs an id, and text as its address", field="id")


def check_token(new: NewToken) -> None:
    """Raise Invalid for a token that cannot be kept."""
    check_token_name(new.name)
    check_digest(new.sha256)
    if new.role is None and not new.projects:
        raise Invalid("a token needs a role, in every project or in some", field="role")
    if not new.id.isalnum():
        raise Invalid("a token needs an id of letters and digits", field="id")


def token_facts(new: NewToken) -> dict[str, Any]:
    """What the trail tells of a token."""
    return {
        "name": new.name,
        "role": new.role.value if new.role else "",
        "projects": {id_: role.value for id_, role in new.projects.items()},
        "expires_at": new.expires_at.isoformat() if new.expires_at else "",
    }


def unknown() -> NotFound:
    """The error for what nobody gets in with, whatever the cause."""
    return NotFound("it is nobody's, has ended, or was taken back")


def no_session(id_: str) -> NotFound:
    """The error for a session that is not there."""
    return NotFound(f"there is no session {id_[:80]}: the list of sessions says which there are")


def no_token(id_: str) -> NotFound:
    """The error for a token that is not there."""
    return NotFound(f"there is no token {id_[:80]}: `loom token list` says which there are")


def _session(connection: Connection, id_: str) -> Session:
    statement = select(*_SESSION).where(tables.session.c.id == id_.replace("\0", ""))
    row = connection.execute(statement).mappings().one_or_none()
    if row is None:
        raise no_session(id_)
    return Session(**row)


def _token(connection: Connection, id_: str) -> Token:
    statement = select(*_TOKEN).where(tables.access_token.c.id == id_.replace("\0", ""))
    row = connection.execute(statement).mappings().one_or_none()
    if row is None:
        raise no_token(id_)
    return _of_row(row)


def _of_row(row: RowMapping) -> Token:
    roles = {"role": _role(row["role"]), "projects": _roles(row["projects"])}
    return Token(**dict(row) | roles)


def _after(statement: Any, table: Any, after: str) -> Any:
    if not after:
        return statement
    moment, id_ = cursor.read_moment(after)
    place = (table.c.created_at < moment) | ((table.c.created_at == moment) & (table.c.id < id_))
    return statement.where(place)


def _cut(found: list[Any], size: int) -> tuple[tuple[Any, ...], str]:
    if len(found) <= size:
        return tuple(found), ""
    last = found[size - 1]
    made: datetime = last.created_at
    return tuple(found[:size]), cursor.write_moment(made, last.id)


def _role(text_: str | None) -> Role | None:
    return Role(text_) if text_ else None


def _roles(projects: dict[str, str]) -> dict[str, Role]:
    return {id_: Role(role) for id_, role in projects.items()}
