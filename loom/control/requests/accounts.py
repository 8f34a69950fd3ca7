"""What requests about people, tokens and logins may say."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from loom.control.requests.fields import by
from loom.control.requests.reading import LOOSE, STRICT, Paging
from loom.domain.access import Role
from loom.domain.account import MAX_PROJECTS, check_token_name, check_user_name
from loom.domain.audit import MAX_REASON
from loom.domain.identity import PROJECT_ID

ProjectId = Annotated[str, StringConstraints(pattern=f"^{PROJECT_ID.pattern}$")]
RoleIn = Annotated[Role, Field(strict=False)]
RolesIn = Annotated[dict[ProjectId, RoleIn], Field(max_length=MAX_PROJECTS)]
Password = Annotated[str, StringConstraints(max_length=1_000)]
YEARS_S = 100 * 366 * 86_400


class WhyIn(BaseModel):
    """Why something is done; it stands in the audit trail."""

    model_config = STRICT

    reason: Annotated[str, StringConstraints(max_length=MAX_REASON)] = ""


class UserIn(WhyIn):
    """A user. role: in every project. password: none makes one that the answer tells."""

    name: Annotated[str, StringConstraints(max_length=64), by(check_user_name)]
    role: RoleIn | None = None
    projects: RolesIn = {}
    password: Password | None = None


class GrantIn(WhyIn):
    """A role. project: none for every project."""

    role: RoleIn
    project: ProjectId | None = None


class RevokeIn(WhyIn):
    """The role in which project is taken away; none: the one in every project."""

    project: ProjectId | None = None


class TokenIn(WhyIn):
    """A token. expires_in_s: none for one that does not expire."""

    name: Annotated[str, StringConstraints(max_length=64), by(check_token_name)]
    role: RoleIn | None = None
    projects: RolesIn = {}
    expires_in_s: Annotated[float, Field(gt=0, le=YEARS_S, strict=False)] | None = None


class PasswordIn(BaseModel):
    """Another password."""

    model_config = STRICT

    current: Password
    new: Password


class SessionQuery(Paging):
    """The query of a list of logins. user: `*` for everybody's; none for one's own."""

    user: Annotated[str, StringConstraints(max_length=64, pattern=r"^[!-~]*$")] = ""


class ExportQuery(BaseModel):
    """The query of an export. after: a place in the chain."""

    model_config = LOOSE

    after: Annotated[int, Field(ge=0, lt=2**63)] = 0
