"""Passwords: hashed by argon2id, compared in a time that does not tell whether there is a user."""

from __future__ import annotations

import secrets
from functools import cached_property
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from loom.errors import Invalid

SHORTEST, LONGEST = 12, 1_000
AT_ONCE = 2
"""Each comparison takes 64 MB for its while."""


class Passwords:
    """Hashes passwords and compares them."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._turn = BoundedSemaphore(AT_ONCE)

    @cached_property
    def _nobodys(self) -> str:
        return self._hasher.hash(secrets.token_hex(16))

    def hash(self, password: str) -> str:
        """The hash to keep. Raises Invalid for one that is too short to be one."""
        if not SHORTEST <= len(password) <= LONGEST:
            raise Invalid(f"a password has {SHORTEST} to {LONGEST} characters", field="password")
        with self._turn:
            return self._hasher.hash(password)

    def match(self, password: str, kept: str) -> bool:
        """Whether it is the password of the hash. kept: empty where there is nobody; then it takes
        as long, and is not.
        """
        with self._turn:
            try:
                self._hasher.verify(kept or self._nobodys, password[: LONGEST + 1])
            except (VerificationError, InvalidHashError):
                return False
        return bool(kept)

    def is_old(self, kept: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(kept)


def generate() -> str:
    """A password that nobody guesses, of 26 characters that are easily told apart."""
    letters = "abcdefghijkmnpqrstuvwxyz23456789"
    return "".join(secrets.choice(letters) for _ in range(26))
