"""Whose token or session a request comes with: asked of the ledger, and known for a few seconds."""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Protocol

from loom.domain.access import Principal, Role
from loom.domain.account import TOKEN, Identity
from loom.errors import NotFound
from loom.rpc.callers import digest

KEPT_S = 5.0
"""How long an answer of the ledger is believed. Whoever is revoked elsewhere gets in for as long at
most; a revocation by way of this process counts at once."""
MOST = 4_096
SERVICE = Identity("", Principal("operator", Role.ADMIN))
"""Who acts by the stack's own token."""
MAX_CREDENTIAL = 200


class People(Protocol):
    """The call of loom.clients.access.AccessCalls that this stands on."""

    def get_identity(self, *, token_sha256: str = "", session_sha256: str = "") -> Identity:
        """Whose token or session it is."""


class Identities:
    """Finds who somebody is. Keeps what it found, and nothing of those whom nobody knows."""

    def __init__(
        self, ledger: People, service_sha256: str, *, kept_s: float = KEPT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """service_sha256: the hash of the stack's own token."""
        self._ledger, self._service, self._kept_s = ledger, service_sha256.lower(), kept_s
        self._clock = clock
        self._lock = Lock()
        self._known: OrderedDict[str, tuple[float, Identity]] = OrderedDict()

    def of_token(self, text: str) -> Identity:
        """Whose token it is. Raises NotFound."""
        sha256 = digest(text)
        if hmac.compare_digest(sha256, self._service):
            return SERVICE
        if not TOKEN.fullmatch(text):
            raise NotFound("it has not the form of a token")
        return self._find(f"t{sha256}", lambda: self._ledger.get_identity(token_sha256=sha256))

    def of_session(self, cookie: str) -> Identity:
        """Whose session it is. Raises NotFound."""
        if not cookie or len(cookie) > MAX_CREDENTIAL:
            raise NotFound("it has not the form of a session")
        sha256 = digest(cookie)
        return self._find(f"s{sha256}", lambda: self._ledger.get_identity(session_sha256=sha256))

    def forget(self) -> None:
        """Ask the ledger anew from now on: something of who may do what has changed."""
        with self._lock:
            self._known.clear()

    def _find(self, key: str, ask: Callable[[], Identity]) -> Identity:
        now = self._clock()
        with self._lock:
            until, found = self._known.get(key, (now, SERVICE))
            if now < until:
                return found
        # From before the question: what changes meanwhile is found out in time.
        identity = ask()
        with self._lock:
            self._known[key] = (now + self._kept_s, identity)
            self._known.move_to_end(key)
            while len(self._known) > MOST:
                self._known.popitem(last=False)
        return identity
