"""Every failure Loom names: a stable code, what it means on each wire, and the exceptions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar


class Disposition(Enum):
    """What a consumer does with the message whose handling raised the error."""

    ACK = "ack"
    RETRY = "retry"
    DEAD_LETTER = "dead_letter"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one code says over HTTP (status), over gRPC (status name) and to a consumer."""

    http: int
    grpc: str
    disposition: Disposition
    title: str


MEANINGS: dict[str, Meaning] = {
    "bad_request": Meaning(
        400, "INVALID_ARGUMENT", Disposition.DEAD_LETTER, "The request cannot be read"
    ),
    "invalid": Meaning(
        422, "INVALID_ARGUMENT", Disposition.DEAD_LETTER, "A value is not acceptable"
    ),
    "unauthenticated": Meaning(
        401, "UNAUTHENTICATED", Disposition.RETRY, "A valid token is needed"
    ),
    "forbidden": Meaning(
        403, "PERMISSION_DENIED", Disposition.DEAD_LETTER, "This caller may not do that"
    ),
    "not_found": Meaning(404, "NOT_FOUND", Disposition.DEAD_LETTER, "There is no such thing"),
    "method_not_allowed": Meaning(
        405, "UNIMPLEMENTED", Disposition.DEAD_LETTER, "This address does not take that method"
    ),
    "conflict": Meaning(409, "ALREADY_EXISTS", Disposition.DEAD_LETTER, "It exists already"),
    "stale": Meaning(
        409, "ABORTED", Disposition.ACK, "Somebody else has moved it on in the meantime"
    ),
    "illegal_transition": Meaning(
        409, "FAILED_PRECONDITION", Disposition.DEAD_LETTER, "That change of state is not legal"
    ),
    "idempotency_key_reused": Meaning(
        422,
        "FAILED_PRECONDITION",
        Disposition.DEAD_LETTER,
        "The idempotency key belongs to another request",
    ),
    "precondition_failed": Meaning(
        412, "ABORTED", Disposition.ACK, "Somebody else has changed it in the meantime"
    ),
    "precondition_required": Meaning(
        428, "FAILED_PRECONDITION", Disposition.DEAD_LETTER, "The edit does not say of what version"
    ),
    "too_large": Meaning(
        413, "OUT_OF_RANGE", Disposition.DEAD_LETTER, "It is larger than the limit"
    ),
    "unsupported_media_type": Meaning(
        415, "INVALID_ARGUMENT", Disposition.DEAD_LETTER, "The body has to be JSON"
    ),
    "unreadable_message": Meaning(
        422, "INVALID_ARGUMENT", Disposition.DEAD_LETTER, "The message cannot be read"
    ),
    "exhausted": Meaning(
        429, "RESOURCE_EXHAUSTED", Disposition.RETRY, "A limit is reached for now"
    ),
    "unavailable": Meaning(503, "UNAVAILABLE", Disposition.RETRY, "A part that is needed is away"),
    "deadline": Meaning(
        504, "DEADLINE_EXCEEDED", Disposition.RETRY, "It did not finish in its time"
    ),
    "internal": Meaning(500, "INTERNAL", Disposition.RETRY, "Loom has a fault"),
}
"""The one table from a code to its meaning on every wire."""


class LoomError(Exception):
    """Something Loom can name went wrong.

    `detail` says what happened, to what, and what to do next, for a person. `data` holds the
    same facts for a program; keys and values are strings, so that they pass over every wire.
    """

    code: ClassVar[str] = "internal"

    def __init__(self, detail: str, **data: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.data = data

    @property
    def meaning(self) -> Meaning:
        """The row of MEANINGS for this error."""
        return MEANINGS[self.code]


class BadRequest(LoomError):
    """The request cannot be read at all."""

    code = "bad_request"


class Invalid(LoomError):
    """A value breaks a rule of its field."""

    code = "invalid"


class Unauthenticated(LoomError):
    """No token, or one that nobody issued."""

    code = "unauthenticated"


class Forbidden(LoomError):
    """The caller is known and may not do this."""

    code = "forbidden"


class NotFound(LoomError):
    """The thing named does not exist."""

    code = "not_found"


class MethodNotAllowed(LoomError):
    """The address exists and does not take this method."""

    code = "method_not_allowed"


class Conflict(LoomError):
    """The id is taken."""

    code = "conflict"


class Stale(LoomError):
    """The epoch or version is older than the ledger's."""

    code = "stale"


class IllegalTransition(LoomError):
    """The lifecycle table has no such move."""

    code = "illegal_transition"


class IdempotencyKeyReused(LoomError):
    """The key was used before, with another request."""

    code = "idempotency_key_reused"


class PreconditionFailed(LoomError):
    """The thing is not as the request says it has to be."""

    code = "precondition_failed"


class PreconditionRequired(LoomError):
    """The request has to say which version it is meant for."""

    code = "precondition_required"


class TooLarge(LoomError):
    """A size limit is passed."""

    code = "too_large"


class UnsupportedMediaType(LoomError):
    """The body is not declared as JSON."""

    code = "unsupported_media_type"


class UnreadableMessage(LoomError):
    """A message on a queue is malformed, oversize, wrongly typed or of an unknown type."""

    code = "unreadable_message"


class Exhausted(LoomError):
    """A limit on how many or how much is reached; later may do."""

    code = "exhausted"


class Unavailable(LoomError):
    """A service that is needed does not answer."""

    code = "unavailable"


class DeadlineExceeded(LoomError):
    """The answer did not come in the time allowed."""

    code = "deadline"


class Internal(LoomError):
    """A fault of Loom's own."""

    code = "internal"


BY_CODE: dict[str, type[LoomError]] = {
    cls.code: cls
    for cls in (
        BadRequest, Invalid, Unauthenticated, Forbidden, NotFound, MethodNotAllowed, Conflict,
        Stale, IllegalTransition, IdempotencyKeyReused, PreconditionFailed, PreconditionRequired,
        TooLarge, UnsupportedMediaType, UnreadableMessage, Exhausted, Unavailable,
        DeadlineExceeded, Internal,
    )
}  # fmt: skip
"""The exception of a code, for clients that rebuild what a server raised."""
