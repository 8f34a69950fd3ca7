"""What the routes of people, sessions, tokens and the chained trail ask of the ledger."""

from __future__ import annotations

from typing import Protocol

from loom.clients.answers import Page
from loom.domain.access import Role
from loom.domain.account import Identity, NewSession, NewToken, Session, Token, User
from loom.domain.audit import Intervention
from loom.domain.auditchain import Chained, Head


class Accounts(Protocol):
    """The calls of loom.clients.access.AccessCalls that the API stands on."""

    def get_identity(self, *, token_sha256: str = "", session_sha256: str = "") -> Identity:
        """Whose token or session it is."""

    def get_login(self, name: str) -> tuple[str, bool]:
        """The hash to compare a password with, if any, and whether there is such a user."""

    def create_user(self, wanted: User, password_hash: str, by: Intervention) -> User:
        """Make a user."""

    def get_user(self, name: str) -> User:
        """One user."""

    def list_users(self, page_size: int = 100, cursor: str = "") -> Page[User]:
        """Users in the order of their names."""

    def admit_user(self, wanted: User, by: Intervention, *, decides_roles: bool) -> User:
        """Whom another issuer vouches for."""

    def grant_role(self, name: str, project_id: str, role: Role | None, by: Intervention) -> User:
        """Give a role, or take it away."""

    def set_password(
        self, name: str, password_hash: str, by: Intervention, rehashes: str = ""
    ) -> User:
        """Take another password."""

    def enable_user(self, name: str, by: Intervention, *, enabled: bool) -> User:
        """Let a user in, or not any more."""

    def open_session(self, new: NewSession, by: Intervention) -> Session:
        """Open a session for a user."""

    def end_session(self, id_: str, by: Intervention, user: str = "") -> Session:
        """End a session."""

    def list_sessions(
        self, user: str = "", page_size: int = 100, cursor: str = ""
    ) -> Page[Session]:
        """Sessions that have not ended."""

    def create_token(self, new: NewToken, by: Intervention) -> Token:
        """Keep a token."""

    def revoke_token(self, id_: str, by: Intervention) -> Token:
        """Revoke a token."""

    def list_tokens(self, page_size: int = 100, cursor: str = "") -> Page[Token]:
        """Tokens, newest first."""

    def note_refusal(self, name: str, address: str, why: str, correlation_id: str) -> None:
        """Write a refused login into the trail."""

    def read_audit(self, after: int = 0, limit: int = 500) -> tuple[tuple[Chained, ...], Head]:
        """Lines after a place of the chain, and the chain's head."""
