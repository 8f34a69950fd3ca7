"""Makes a repeated command answer as the first did, in the command's own transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import Message
from sqlalchemy import Connection, insert, select

from loom.database import tables
from loom.errors import IdempotencyKeyReused
from loom.rpc.v1 import database_pb2 as pb

M = TypeVar("M", bound=Message)


def locks(idempotency: pb.Idempotency) -> tuple[int, ...]:
    """The advisory locks its transaction begins with: of two with the same key one waits."""
    if not idempotency.key:
        return ()
    digest = hashlib.sha256(idempotency.key.encode()).digest()
    return (int.from_bytes(digest[:8], "big", signed=True),)


def once(
    connection: Connection, idempotency: pb.Idempotency, answer: M, work: Callable[[], M]
) -> tuple[M, bool]:
    """What work answers, or what it answered before; and whether it was before.

    answer: an empty message of the kind that work returns. Raises IdempotencyKeyReused.
    """
    if not idempotency.key:
        return work(), False
    table = tables.idempotency
    found = connection.execute(
        select(table.c.fingerprint, table.c.response).where(table.c.key == idempotency.key)
    ).one_or_none()
    if found is not None:
        if found.fingerprint != idempotency.fingerprint:
            raise IdempotencyKeyReused(
                "this idempotency key was used for another request: take a fresh key for a "
                "fresh request"
            )
        answer.ParseFromString(bytes(found.response))
        return answer, True
    done = work()
    connection.execute(
        insert(table).values(
            key=idempotency.key,
            fingerprint=idempotency.fingerprint,
            response=done.SerializeToString(deterministic=True),
        )
    )
    return done, False
