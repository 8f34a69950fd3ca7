"""The log message: lines of a running attempt, on their way to whoever follows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from loom.domain.identity import check_bead_id, check_project_id
from loom.domain.log import MAX_CHUNK_LINES, MAX_LINE_BYTES, LineKind, LogChunk, LogLine
from loom.errors import Invalid, UnreadableMessage
from loom.messaging.envelope import VERSION, Envelope, check_version, read_json, validate
from loom.messaging.result import MAX_EPOCH
from loom.messaging.topology import LOGS, MAX_LOG_BYTES, agent_user, log_key

TYPE = "log.lines"
MAX_STEP = 200


def _without_nul(text: str) -> str:
    return text.replace("\0", "\ufffd")


Text = Annotated[str, AfterValidator(_without_nul)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class LinePart(_Part):
    """A line; what is not said is as in most of them."""

    at: AwareDatetime
    # A cut line says how much it lacks.
    text: Text = Field(default="", max_length=MAX_LINE_BYTES + 100)
    step: Text = Field(default="", max_length=MAX_STEP)
    kind: Literal["out", "begin", "end", "left_out"] = "out"
    more: bool = False


class LogMessage(_Part):
    """Lines of one attempt. seq: from 1, without a gap. first: the number of the first line."""

    type: Literal["log.lines"]
    service: str
    project_id: str
    bead_id: str
    epoch: int = Field(ge=1, le=MAX_EPOCH)
    seq: int = Field(ge=1, lt=2**31)
    first: int = Field(ge=1, lt=2**31)
    lines: list[LinePart] = Field(max_length=MAX_CHUNK_LINES)
    last: bool = False
    correlation_id: str

    def chunk(self) -> LogChunk:
        """The lines as the domain's value."""
        return LogChunk(
            project_id=self.project_id,
            bead_id=self.bead_id,
            epoch=self.epoch,
            seq=self.seq,
            first=self.first,
            lines=tuple(
                LogLine(part.at, part.text, part.step, LineKind(part.kind), part.more)
                for part in self.lines
            ),
            last=self.last,
        )


def to_envelope(chunk: LogChunk, message_id: str, correlation_id: str) -> Envelope:
    """The message to publish; not mandatory, since nobody has to listen."""
    service = agent_user(chunk.project_id)
    message = LogMessage(
        type="log.lines",
        service=service,
        project_id=chunk.project_id,
        bead_id=chunk.bead_id,
        epoch=chunk.epoch,
        seq=chunk.seq,
        first=chunk.first,
        lines=[
            LinePart(
                at=line.at, text=line.text, step=line.step, kind=line.kind.value, more=line.more
            )
            for line in chunk.lines
        ],
        last=chunk.last,
        correlation_id=correlation_id,
    )
    return Envelope(
        exchange=LOGS,
        routing_key=log_key(service),
        body=message.model_dump_json(exclude_defaults=True).encode(),
        message_id=message_id,
        correlation_id=correlation_id,
        headers={"version": VERSION, "message_id": message_id},
        mandatory=False,
    )


def read(headers: Mapping[str, Any], body: bytes) -> LogMessage:
    """The lines in a received message; raises UnreadableMessage with `reason` in its data."""
    check_version(headers, "the log message")
    payload = read_json(body, MAX_LOG_BYTES, "a log message")
    kind = payload.get("type") if isinstance(payload, dict) else None
    if isinstance(kind, str) and kind != TYPE:
        raise UnreadableMessage(f"nobody keeps the type {kind[:80]!r}", reason="unknown_type")
    message = validate(LogMessage, payload)
    try:
        check_project_id(message.project_id)
        check_bead_id(message.bead_id)
    except Invalid as error:
        raise UnreadableMessage(error.detail, reason="wrong_type") from error
    return message
