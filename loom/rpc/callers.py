"""Who may call: every caller has a token, and one table says which calls are its."""

from __future__ import annotations

import hashlib
import hmac
import threading
from pathlib import Path

from loom.errors import Forbidden, Unauthenticated, Unavailable

_READ = {
    "GetBead", "ListBeads", "GetProject", "ListProjects", "ListAttempts", "ListDeadLetters",
    "GetDeadLetter", "ListDeadLetterGroups", "ListReplays", "ListAudit", "ExplainBead",
    "GetAgent", "ListAgents", "ListComments", "ReadLog", "WatchLogs", "ListEvents", "WatchEvents",
    "ListExports", "GetOrigin",
}  # fmt: skip
_COUNT = {"GetFlow", "GetSeries", "GetTrip"}
_INTERVENE = {
    "CancelBead", "UnblockBead", "ReplayDeadLetter", "DiscardDeadLetter",
    "ReplayDeadLetterGroup", "DiscardDeadLetterGroup", "UpdateProject", "AmendBead",
    "SteerAgent", "AssignBead", "ActOnBeads",
}  # fmt: skip

_ACCESS_READ = {"GetUser", "ListUsers", "ListSessions", "ListTokens", "ReadAudit"}
_ACCESS = {
    "GetIdentity", "GetLogin", "CreateUser", "AdmitUser", "GrantRole", "SetPassword", "EnableUser",
    "OpenSession", "EndSession", "CreateToken", "RevokeToken", "NoteRefusal",
}  # fmt: skip
_WEBHOOKS_READ = {"GetWebhook", "ListWebhooks", "ListDeliveries", "GetDelivery"}
_WEBHOOKS = {
    "CreateWebhook", "ChangeWebhook", "RemoveWebhook", "PingWebhook", "SteerDeliveries",
}  # fmt: skip

ALLOWED: dict[str, frozenset[str]] = {
    "control": frozenset(
        _READ
        | _COUNT
        | _INTERVENE
        | _ACCESS_READ
        | _ACCESS
        | _WEBHOOKS_READ
        | _WEBHOOKS
        | {"CreateProject", "CreateBeads", "SaveBead", "Reconcile"}
        | {"GetArtifact", "StatArtifacts"}
        | {"AddComment", "EditComment", "DeleteComment", "ImportBeads"}
    ),
    "dispatcher": frozenset(
        {"ListProjects", "LeaseOutbox", "SettleOutbox", "ListSweepable", "SettleSwept"}
    ),
    "ingester": frozenset({"RecordResults", "RecordDeadLetters", "AppendLogs"}),
    "connectors": frozenset({"LeaseDeliveries", "SettleDeliveries"}),
    "engine": frozenset(
        {"ExpireLeases", "AdvanceReplays", "ListProjects", "Reconcile", "ForgetAgents", "ForgetOld"}
    ),
    "agent": frozenset(
        {"ClaimBead", "RenewLease", "RegisterAgent", "ReportAgent"}
        | {"PutArtifact", "GetArtifact", "StatArtifacts"}
    ),
    "operator": frozenset(
        _READ
        | _INTERVENE
        | _ACCESS_READ
        | _WEBHOOKS_READ
        | _COUNT
        | {"ExecuteQuery", "BeginTransaction", "Commit", "Rollback", "SaveBead", "Reconcile"}
        | {"GetArtifact", "StatArtifacts"}
    ),
}
"""The calls of Loom's gRPC services that each kind of caller may make; any other is refused. Each
service knows its own callers by their tokens for it."""


def kind_of(caller: str) -> str:
    """`agent` for `agent-<project>`, otherwise the caller's own name."""
    return "agent" if caller.startswith("agent-") else caller


def agent_project(caller: str) -> str:
    """The project of the agents that call by this name; empty for every other caller."""
    return caller.removeprefix("agent-") if kind_of(caller) == "agent" else ""


def digest(token: str) -> str:
    """How a token is kept: tokens are random and long, so a plain SHA-256 (hex) is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def check_allowed(caller: str, call: str) -> None:
    """Raise Forbidden unless the table gives the call to the caller."""
    if call not in ALLOWED.get(kind_of(caller), frozenset()):
        raise Forbidden(
            f"{caller} may not call {call}: loom/rpc/callers.py says who may",
            caller=caller,
            call=call,
        )


class Callers:
    """The known tokens, from a file that is read again whenever it changes.

    A line is `<caller> <sha256 of its token, hex>`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int] | None = None
        self._callers: dict[str, str] = {}

    def identify(self, token: str) -> str:
        """The caller whose token this is; raises Unauthenticated, or Unavailable without file."""
        wanted = digest(token)
        for known, caller in self._current().items():
            if hmac.compare_digest(known, wanted):
                return caller
        raise Unauthenticated(
            "no caller has this token: send the metadata `authorization: Bearer <token>`; "
            "`loom token show --service operator` prints the operator's"
        )

    def _current(self) -> dict[str, str]:
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino)
            with self._lock:
                if stamp != self._stamp:
                    pairs = [line.split() for line in self._path.read_text().splitlines()]
                    self._callers = {pair[1]: pair[0] for pair in pairs if len(pair) == 2}
                    self._stamp = stamp
                return self._callers
        except OSError as error:
            raise Unavailable(f"the table of callers cannot be read: {error}") from error
