"""The first admin of a stack: made when nobody can log in yet."""

from __future__ import annotations

from loom.cli.profile import Profile
from loom.domain.access import Role
from loom.errors import Conflict

NAME = "admin"


def first(where: Profile) -> str:
    """Make the admin of a Loom that has no user, and tell the password, which is kept nowhere;
    empty where there are users.
    """
    with where.client() as client:
        if client.list_users(limit=1).items:
            return ""
        try:
            _, password = client.create_user(NAME, Role.ADMIN, {})
        except Conflict:
            # Another `loom up` was quicker, and has shown it.
            return ""
    return password
