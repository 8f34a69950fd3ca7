"""Claims of beads and the leases of attempts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import ARRAY, Connection, RowMapping, Text, bindparam, func, select, text

from loom.database import decisions, rows, tables
from loom.database.changes import Changes, Running, Standing
from loom.database.writing import Written, write
from loom.domain.bead import Attempt, Bead
from loom.domain.lifecycle import State
from loom.domain.outbox import Claim, ClaimVerdict
from loom.domain.project import STILL, Project, ProjectState
from loom.errors import Forbidden, Invalid, Stale
from loom.telemetry.failpoints import failpoint

_AGENT = "agent-"
CAP_SEED = 4_107_482_650_120
"""Apart from other locks by the hash of a text."""

_PROJECT_COLUMNS = [column.label(f"project__{column.name}") for column in tables.project.c]

# Made once: to build a statement of so many columns takes as long as to run it.
_CLAIMABLE = select(
    *tables.bead.c,
    *_PROJECT_COLUMNS,
    (tables.bead.c.not_before > func.clock_timestamp()).label("early"),
    rows.ALLOW_NO_TESTS,
).join(tables.project, tables.project.c.id == tables.bead.c.project_id)
_CLAIMED = _CLAIMABLE.where(tables.bead.c.id == bindparam("bead_id")).with_for_update(
    of=tables.bead
)
_CLAIMED_TOGETHER = (
    _CLAIMABLE.where(tables.bead.c.id == func.any(bindparam("bead_ids", type_=ARRAY(Text))))
    .order_by(tables.bead.c.id)
    .with_for_update(of=tables.bead, skip_locked=True)
)
_CAP_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:project_id, :seed))")
_IN_PROGRESS = text(
    "SELECT count(*) FROM bead WHERE project_id = :project_id AND state = 'in_progress'"
)
_RUNNING = select(*rows.running_columns()).where(
    tables.attempt.c.bead_id == bindparam("bead_id"), tables.attempt.c.outcome == "running"
)
_PREVIOUS = (
    select(tables.attempt)
    .where(
        tables.attempt.c.bead_id == bindparam("bead_id"),
        tables.attempt.c.epoch < bindparam("epoch"),
    )
    .order_by(tables.attempt.c.epoch.desc())
    .limit(1)
)

# A lease that has ended stays ended, even if nobody has taken note of it yet.
_RENEW = text(
    """
    WITH held AS (
        SELECT id, project_id, state, epoch FROM bead WHERE id = :bead_id
    ), renewed AS (
        UPDATE attempt a
           SET lease_until = clock_timestamp() + :lease_s * interval '1 second'
          FROM held
         WHERE a.bead_id = held.id AND a.epoch = :epoch AND held.epoch = :epoch
           AND a.outcome = 'running' AND a.agent_id = :agent_id
           AND a.lease_until > clock_timestamp()
           AND (:project_id = '' OR held.project_id = :project_id)
        RETURNING 1
    )
    SELECT held.project_id, held.state, held.epoch, EXISTS (SELECT FROM renewed) AS renewed
      FROM held
    """
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A claim as it is asked for. epoch: of the task message."""

    bead_id: str
    epoch: int
    agent_id: str
    request_id: str
    redelivered: bool
    caller: str


def project_of(caller: str) -> str:
    """The one project whose beads the caller may touch; empty: any."""
    return caller.removeprefix(_AGENT) if caller.startswith(_AGENT) else ""


def check_caller(caller: str, project_id: str) -> None:
    """Raise Forbidden if the caller is an agent of another project."""
    own = project_of(caller)
    if own and own != project_id:
        raise Forbidden(
            f"{caller} may touch beads of project {own} alone, not of {project_id}",
            caller=caller,
            project_id=project_id,
        )


def check_claim(agent_id: str, request_id: str) -> None:
    """Raise Invalid unless a claim says who claims, and which request it is."""
    for name, value in (("agent_id", agent_id), ("request_id", request_id)):
        if not value or len(value) > 200 or "\0" in value:
            raise Invalid(f"a claim needs {name}, of at most 200 characters", field=name)


def claim(connection: Connection, asked: Asked, lease_s: float) -> Claim:
    """Claim a bead under the epoch of its task message: compare-and-swap under its row lock."""
    bead_id, epoch = asked.bead_id, asked.epoch
    row = connection.execute(_CLAIMED, {"bead_id": bead_id}).mappings().one_or_none()
    if row is None:
        return Claim(ClaimVerdict.UNKNOWN)
    check_caller(asked.caller, row["project_id"])
    running = _running(connection, bead_id) if row["state"] == State.IN_PROGRESS.value else None
    bead_now = rows.standing(row, running)
    decision = decisions.claim(
        bead_now,
        epoch,
        asked.agent_id,
        asked.request_id,
        lease_s=lease_s,
        redelivered=asked.redelivered,
        held_back=_held_back(connection, row, bead_now, epoch),
    )
    if decision.verdict is ClaimVerdict.DEFERRED:
        write(connection, decision.changes)
    if decision.verdict is not ClaimVerdict.GRANTED:
        return Claim(decision.verdict)
    written = write(connection, decision.changes).get(bead_id)
    failpoint("database.claimed")
    return Claim(
        decision.verdict, decision.epoch, decision.attempt, decision.lease_s,
        _claimed(row, decision, written), _project(row),
        _before(connection, bead_id, decision.epoch),
    )  # fmt: skip


def claim_together(
    connection: Connection, asked: Sequence[Asked], lease_s: float
) -> list[Claim | None]:
    """Claim beads in one transaction; None for each that has to be claimed alone.

    Granted here are first attempts that nothing holds back. Whatever else there is to decide, and
    each bead that others have locked, is left as it is: so nobody waits for another's bead.
    """
    first = {each.bead_id: index for index, each in reversed(list(enumerate(asked)))}
    found = connection.execute(_CLAIMED_TOGETHER, {"bead_ids": sorted(first)}).mappings().all()
    projects: dict[str, Project] = {}
    granted: dict[int, tuple[RowMapping, decisions.Claimed]] = {}
    for row in found:
        index = first[row["id"]]
        if not _is_plain(row, asked[index]):
            continue
        decision = decisions.claim(
            rows.standing(row),
            asked[index].epoch,
            asked[index].agent_id,
            asked[index].request_id,
            lease_s=lease_s,
            redelivered=asked[index].redelivered,
        )
        if decision.verdict is ClaimVerdict.GRANTED:
            granted[index] = row, decision
            if row["project_id"] not in projects:
                projects[row["project_id"]] = _project(row)
    changes = Changes()
    for _row, decision in granted.values():
        changes += decision.changes
    written = write(connection, changes)
    failpoint("database.claimed")
    claims: list[Claim | None] = [None] * len(asked)
    for index, (row, decision) in granted.items():
        bead = _claimed(row, decision, written.get(row["id"]))
        claims[index] = Claim(
            decision.verdict, decision.epoch, decision.attempt, decision.lease_s, bead,
            projects[row["project_id"]],
        )  # fmt: skip
    return claims


def _is_plain(row: RowMapping, asked: Asked) -> bool:
    """Whether nothing but the bead's own state and epoch decides on the claim."""
    own = project_of(asked.caller)
    return (
        own in ("", row["project_id"])
        and asked.epoch == 1
        and row["state"] == State.OPEN.value
        and row["project__state"] == ProjectState.ACTIVE.value
        and not row["project__max_in_progress"]
        and not row["gated"]
        and not row["early"]
    )


def _claimed(row: RowMapping, decision: decisions.Claimed, written: Written | None) -> Bead:
    """The bead after the claim."""
    bead = rows.bead(row)
    if written is None:
        return bead
    return replace(
        bead,
        state=State.IN_PROGRESS,
        reason="",
        epoch=decision.epoch,
        version=written.version,
        updated_at=written.updated_at,
    )


def _project(row: RowMapping) -> Project:
    return rows.project({c.name: row[f"project__{c.name}"] for c in tables.project.c})


def _before(connection: Connection, bead_id: str, epoch: int) -> Attempt | None:
    """The bead's attempt before the one of that epoch."""
    if epoch == 1:
        return None
    found = connection.execute(_PREVIOUS, {"bead_id": bead_id, "epoch": epoch}).mappings()
    row = found.one_or_none()
    return rows.attempt(row).retold() if row is not None else None


def _held_back(connection: Connection, row: RowMapping, bead: Standing, epoch: int) -> bool:
    """Whether a bead whose message came may not start, or not be started again, now.

    Claims of a project with a cap are granted one at a time, each seeing what the ones before it
    started, so that the cap holds exactly.
    """
    paused = ProjectState(row["project__state"]) in STILL
    if not decisions.startable(bead, epoch):
        return bool(paused)
    draining = row["project__state"] == ProjectState.DRAINING.value and not bead.attempts
    if paused or draining or bead.gated or row["early"]:
        return True
    cap: int = row["project__max_in_progress"]
    if not cap:
        return False
    project = {"project_id": bead.project_id}
    connection.execute(_CAP_LOCK, project | {"seed": CAP_SEED})
    in_progress: int = connection.execute(_IN_PROGRESS, project).scalar_one()
    return in_progress >= cap


def _running(connection: Connection, bead_id: str) -> Running | None:
    row = connection.execute(_RUNNING, {"bead_id": bead_id}).mappings().one_or_none()
    return rows.running_of(row) if row is not None else None


def renew(
    connection: Connection,
    bead_id: str,
    epoch: int,
    agent_id: str,
    lease_s: float,
    *,
    caller: str,
) -> float:
    """Seconds the lease lasts from now. Raises Stale when the attempt no longer holds it."""
    row = connection.execute(
        _RENEW,
        {
            "bead_id": bead_id,
            "epoch": epoch,
            "agent_id": agent_id,
            "lease_s": lease_s,
            "project_id": project_of(caller),
        },
    ).one_or_none()
    if row is None:
        raise Stale(f"there is no bead {bead_id}: stop the work", bead_id=bead_id)
    check_caller(caller, row.project_id)
    if not row.renewed:
        raise Stale(
            f"the attempt of epoch {epoch} no longer holds bead {bead_id}, which is {row.state} "
            f"at epoch {row.epoch}: stop the work",
            bead_id=bead_id,
            epoch=str(row.epoch),
        )
    return lease_s
