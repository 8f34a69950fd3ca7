"""People in the ledger: their roles, and what their logins are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select, update
from sqlalchemy.dialects.postgresql import insert

from loom.database import audit, cursor, projects, tables
from loom.domain.access import Role
from loom.domain.account import User, check_projects, check_user_name
from loom.domain.audit import Intervention
from loom.errors import Conflict, Invalid, NotFound, Stale

PAGE, LARGEST_PAGE = 100, 500
MAX_HASH = 500

_HASH = tables.person.c.password_hash
_TOLD = (
    *(column for column in tables.person.c if column is not _HASH),
    (_HASH != "").label("has_password"),
)


def create(connection: Connection, wanted: User, password_hash: str, by: Intervention) -> User:
    """Make a user. Raises Conflict, NotFound (a project), Invalid."""
    check_user_name(wanted.name)
    check_hash(password_hash)
    check_grants(connection, wanted.projects)
    made = connection.execute(
        insert(tables.person)
        .values(
            name=wanted.name,
            role=wanted.role,
            projects=dict(wanted.projects),
            password_hash=password_hash,
            subject=wanted.subject,
            disabled=False,
        )
        .on_conflict_do_nothing()
        .returning(tables.person.c.name)
    ).one_or_none()
    if made is None:
        raise taken(wanted.name)
    audit.note(connection, by, "user.create", wanted.name, rights(wanted))
    return get(connection, wanted.name)


def get(connection: Connection, name: str) -> User:
    """One user. Raises NotFound."""
    found = connection.execute(select(*_TOLD).where(tables.person.c.name == _storable(name)))
    row = found.mappings().one_or_none()
    if row is None:
        raise missing(name)
    return _user(row)


def page(connection: Connection, size: int, after: str) -> tuple[tuple[User, ...], str]:
    """Users in the order of their names, and the next cursor."""
    size = cursor.page_size(size, PAGE, LARGEST_PAGE)
    name = tables.person.c.name.collate("C")
    statement = select(*_TOLD).order_by(name).limit(size + 1)
    if after:
        statement = statement.where(name > cursor.read(after, str)[0])
    found = [_user(row) for row in connection.execute(statement).mappings()]
    more = len(found) > size
    found = found[:size]
    return tuple(found), cursor.write(found[-1].name) if more else ""


def login(connection: Connection, name: str) -> tuple[str, bool]:
    """The hash that a password is compared with, empty if nobody can log in so; and whether
    there is such a user."""
    row = connection.execute(
        select(tables.person.c.password_hash, tables.person.c.disabled).where(
            tables.person.c.name == _storable(name)
        )
    ).one_or_none()
    if row is None:
        return "", False
    return ("" if row.disabled else row.password_hash), True


def admit(connection: Connection, wanted: User, by: Intervention, *, decides_roles: bool) -> User:
    """Whom another issuer vouches for, made at the first time. Raises Conflict (the name)."""
    check_user_name(wanted.name)
    if not wanted.subject or len(wanted.subject) > MAX_HASH or "\0" in wanted.subject:
        raise Invalid("subject has to say who vouches for the user", field="subject")
    table = tables.person
    row = connection.execute(
        select(*_TOLD).where(table.c.subject == wanted.subject).with_for_update(of=table)
    ).mappings().one_or_none()  # fmt: skip
    if row is None:
        return create(connection, wanted, "", by)
    known = _user(row)
    same = (known.role, dict(known.projects)) == (wanted.role, dict(wanted.projects))
    if same or not decides_roles:
        return known
    check_projects(wanted.projects)
    _set(connection, known.name, role=wanted.role, projects=dict(wanted.projects))
    audit.note(connection, by, "user.grant", known.name, rights(wanted))
    return get(connection, known.name)


def grant(
    connection: Connection, name: str, project_id: str, role: Role | None, by: Intervention
) -> User:
    """Give a role, or take it away. Raises NotFound (the user, the project)."""
    before = _locked(connection, name)
    if role is not None:
        check_grants(connection, {project_id: role} if project_id else {})
    after = granted(before, project_id, role)
    if after == before:
        return before
    _set(connection, name, role=after.role, projects=dict(after.projects))
    action = "user.grant" if role is not None else "user.revoke"
    detail = {"project_id": project_id, "role": role.value if role else ""}
    audit.note(connection, by, action, name, detail)
    return after


def granted(user: User, project_id: str, role: Role | None) -> User:
    """The user with that role in a project, or in every one; None: without."""
    words = {each: getattr(user, each) for each in User.__slots__}
    if not project_id:
        return User(**words | {"role": role})
    others = {id_: kept for id_, kept in user.projects.items() if id_ != project_id}
    return User(
        **words | {"projects": check_projects(others | ({project_id: role} if role else {}))}
    )


def set_password(
    connection: Connection, name: str, password_hash: str, by: Intervention, rehashes: str = ""
) -> User:
    """Take another password. rehashes: the same one is only hashed anew. Raises NotFound, Stale."""
    if not check_hash(password_hash):
        raise Invalid("password_hash is empty", field="password_hash")
    user = _locked(connection, name)
    if user.subject:
        raise Invalid(f"{name} logs in by {user.subject}, without a password here", field="name")
    if rehashes:
        if login(connection, name)[0] != rehashes:
            raise Stale(f"the password of {name} is another one by now")
        _set(connection, name, password_hash=password_hash)
        return user
    _set(connection, name, password_hash=password_hash)
    audit.note(connection, by, "user.password", name)
    return get(connection, name)


def enable(connection: Connection, name: str, by: Intervention, *, enabled: bool) -> User:
    """Let a user in, or not any more. Raises NotFound."""
    before = _locked(connection, name)
    if before.disabled is not enabled:
        return before
    _set(connection, name, disabled=not enabled)
    audit.note(connection, by, "user.enable" if enabled else "user.disable", name)
    return get(connection, name)


def logged_in(connection: Connection, name: str) -> User:
    """The user, who has just logged in. Raises NotFound, Invalid for a disabled one."""
    user = _locked(connection, name)
    if user.disabled:
        raise Invalid(f"{name} is disabled: `loom user enable {name}`", field="user")
    _set(connection, name, last_login_at=func.clock_timestamp())
    return user


def check_grants(connection: Connection, roles: Mapping[str, Role]) -> None:
    """Raise NotFound unless there is each of the projects."""
    for project_id in check_projects(roles):
        projects.get(connection, project_id)


def check_hash(password_hash: str) -> str:
    """The hash; raises Invalid for one that cannot be kept."""
    if len(password_hash) > MAX_HASH or "\0" in password_hash:
        raise Invalid(f"password_hash has at most {MAX_HASH} characters", field="password_hash")
    return password_hash


def rights(of: User) -> dict[str, Any]:
    """What the trail tells of somebody's roles."""
    return {
        "role": of.role.value if of.role else "",
        "projects": {id_: role.value for id_, role in of.projects.items()},
    }


def missing(name: str) -> NotFound:
    """The error for a user that is not there."""
    return NotFound(f"there is no user {name[:80]}: `loom user list` says who there is", name=name)


def taken(name: str) -> Conflict:
    """The error for a name that is somebody else's."""
    return Conflict(f"there is a user {name} already: take another name", name=name)


def _locked(connection: Connection, name: str) -> User:
    table = tables.person
    statement = select(*_TOLD).where(table.c.name == _storable(name)).with_for_update(of=table)
    row = connection.execute(statement).mappings().one_or_none()
    if row is None:
        raise missing(name)
    return _user(row)


def _set(connection: Connection, name: str, **values: Any) -> None:
    connection.execute(update(tables.person).where(tables.person.c.name == name).values(**values))


def _user(row: RowMapping) -> User:
    words = dict(row)
    words["role"] = Role(row["role"]) if row["role"] else None
    words["projects"] = {id_: Role(role) for id_, role in row["projects"].items()}
    return User(**words)


def _storable(name: str) -> str:
    return name.replace("\0", "")
