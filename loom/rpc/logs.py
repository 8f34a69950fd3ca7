"""Lines of logs as the contract's messages, and back."""

from __future__ import annotations

from loom.domain.log import (
    LineKind,
    LogChunk,
    LogCursor,
    LogLine,
    LogPage,
    LogState,
    PlacedLine,
)
from loom.rpc import codec
from loom.rpc.v1 import logs_pb2 as pb


def line_to_pb(line: LogLine) -> pb.LogLine:
    """A line."""
    return pb.LogLine(
        at=codec.stamp(line.at),
        step=line.step,
        kind=line.kind.value,
        text=line.text,
        more=line.more,
    )


def line_from_pb(line: pb.LogLine) -> LogLine:
    """A line."""
    return LogLine(codec.moment(line.at), line.text, line.step, LineKind(line.kind), line.more)


def chunk_to_pb(chunk: LogChunk) -> pb.LogChunk:
    """Lines that travel together."""
    return pb.LogChunk(
        project_id=chunk.project_id,
        bead_id=chunk.bead_id,
        epoch=chunk.epoch,
        seq=chunk.seq,
        first=chunk.first,
        lines=map(line_to_pb, chunk.lines),
        last=chunk.last,
    )


def chunk_from_pb(chunk: pb.LogChunk) -> LogChunk:
    """Lines that travel together."""
    return LogChunk(
        project_id=chunk.project_id,
        bead_id=chunk.bead_id,
        epoch=chunk.epoch,
        seq=chunk.seq,
        first=chunk.first,
        lines=tuple(map(line_from_pb, chunk.lines)),
        last=chunk.last,
    )


def page_to_pb(page: LogPage) -> pb.ReadLogResponse:
    """What a reader gets."""
    return pb.ReadLogResponse(
        lines=[
            pb.PlacedLine(cursor=str(each.cursor), line=line_to_pb(each.line))
            for each in page.lines
        ],
        next_cursor=str(page.next),
        state=page.state.value,
        again_s=page.again_s,
    )


def page_from_pb(page: pb.ReadLogResponse) -> LogPage:
    """What a reader gets."""
    return LogPage(
        tuple(
            PlacedLine(LogCursor.parse(each.cursor), line_from_pb(each.line)) for each in page.lines
        ),
        LogCursor.parse(page.next_cursor),
        LogState(page.state),
        page.again_s,
    )
