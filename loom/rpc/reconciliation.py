"""A reconciliation as messages of the contract, and back."""

from __future__ import annotations

from loom.domain.reconciliation import Account, Depth, Held, Mended, Reconciliation
from loom.rpc.v1 import database_pb2 as pb

_HELD = ("project_id", "owed", "dispatched", "overdue", "running", "expired", "stuck", "dead")


def depth_to_pb(depth: Depth) -> pb.QueueDepth:
    """What stands in one queue."""
    return pb.QueueDepth(
        queue=depth.queue,
        ready=depth.ready,
        unacked=depth.unacked,
        missing=depth.missing,
        age_s=depth.age_s,
    )


def depth_from_pb(depth: pb.QueueDepth) -> Depth:
    """What stands in one queue."""
    return Depth(
        queue=depth.queue,
        ready=depth.ready,
        unacked=depth.unacked if depth.HasField("unacked") else None,
        missing=depth.missing,
        age_s=depth.age_s,
    )


def to_pb(done: Reconciliation) -> pb.ReconcileResponse:
    """Every project's account, and what was mended."""
    return pb.ReconcileResponse(
        accounts=map(_account_to_pb, done.accounts),
        reowed=done.mended.reowed,
        reopened=done.mended.reopened,
        expired=done.mended.expired,
    )


def from_pb(done: pb.ReconcileResponse) -> Reconciliation:
    """Every project's account, and what was mended."""
    return Reconciliation(
        tuple(map(_account_from_pb, done.accounts)),
        Mended(done.reowed, done.reopened, done.expired),
    )


def _account_to_pb(account: Account) -> pb.ProjectAccount:
    return pb.ProjectAccount(
        **{name: getattr(account.held, name) for name in _HELD},
        tasks=depth_to_pb(account.tasks) if account.tasks else None,
        dead_letters=depth_to_pb(account.dead) if account.dead else None,
        lost=account.lost,
        differences=account.differences,
    )


def _account_from_pb(account: pb.ProjectAccount) -> Account:
    return Account(
        held=Held(**{name: getattr(account, name) for name in _HELD}),
        tasks=depth_from_pb(account.tasks) if account.HasField("tasks") else None,
        dead=depth_from_pb(account.dead_letters) if account.HasField("dead_letters") else None,
        lost=account.lost,
        differences=tuple(account.differences),
    )
