"""Replays of groups of dead letters: begun, and carried on step by step at their rates."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, func, insert, select, text, update

from loom.database import audit, cursor, interventions, rows, settling, tables
from loom.domain.audit import Intervention
from loom.domain.identity import new_message_id
from loom.domain.replay import BATCH, Replay, ReplayState, allowance, check_rate
from loom.errors import Conflict

PAGE, LARGEST_PAGE = 50, 500
LARGEST = 50
"""Replays that one call takes a step of."""

_LEFT = text(
    "SELECT count(*) FROM dead_letter WHERE fingerprint = :fingerprint AND state = 'open' "
    "AND id > :place AND id <= :last_letter"
)
_AGAIN = text(
    "SELECT count(*) FROM dead_letter WHERE fingerprint = :fingerprint AND id > :last_letter"
)
_CANARY = text(
    """
    SELECT d.bead_id, d.epoch, d.queue,
           EXISTS (SELECT FROM dead_letter e
                    WHERE e.message_id = :message_id AND :message_id <> '') AS died_again,
           EXISTS (SELECT FROM outbox o
                    WHERE o.kind = 'replay' AND o.message_id = :message_id) AS owed
      FROM dead_letter d WHERE d.id = :letter
    """
)


@dataclass(frozen=True, slots=True)
class Advanced:
    """What a round of steps did; ended: replays that are done or were stopped."""

    replayed: int = 0
    refused: int = 0
    ended: int = 0


def begin(
    connection: Connection, fingerprint: str, by: Intervention, rate_per_s: float, *, canary: bool
) -> Replay | None:
    """Begin the replay of a group and take its first step; None if no letter of it is open.

    Raises Conflict while another replay of the group runs.
    """
    table = tables.replay
    rate = check_rate(rate_per_s)
    running = connection.execute(
        select(table.c.id).where(table.c.fingerprint == fingerprint, table.c.ended_at.is_(None))
    ).scalar()
    if running:
        raise Conflict(
            f"replay {running} of group {fingerprint} runs already: `loom dlq replays` shows it",
            replay_id=running,
        )
    letters = tables.dead_letter
    last = connection.execute(
        select(func.max(letters.c.id)).where(
            letters.c.fingerprint == fingerprint, letters.c.state == "open"
        )
    ).scalar()
    if last is None:
        return None
    # The newest of the group, open or not: what is recorded after it has died since.
    last = connection.execute(
        select(func.max(letters.c.id)).where(letters.c.fingerprint == fingerprint)
    ).scalar_one()
    id_ = new_message_id()
    state = ReplayState.CANARY if canary else ReplayState.RUNNING
    connection.execute(
        insert(table).values(
            id=id_,
            fingerprint=fingerprint,
            state=state.value,
            rate_per_s=rate,
            last_letter=last,
            actor=by.actor,
            reason=by.reason,
            correlation_id=by.correlation_id,
            traceparent=by.traceparent,
        )
    )
    detail = {
        "replay_id": id_,
        "letters": settling.matching(connection, fingerprint),
        "rate_per_s": rate,
        "canary": canary,
    }
    audit.note(connection, by, "dead_letters.replay", fingerprint, detail)
    _step(connection, _row(connection, id_), 1 if canary else max(1, allowance(rate, 1.0)))
    return replay(connection, _row(connection, id_))


def advance(connection: Connection, limit: int) -> Advanced:
    """Take the next step of each running replay that is due one."""
    table = tables.replay
    elapsed = func.extract("epoch", func.clock_timestamp() - table.c.advanced_at)
    found = (
        connection.execute(
            select(*table.c, elapsed.label("elapsed_s"))
            .where(table.c.ended_at.is_(None))
            .order_by(table.c.id)
            .limit(min(limit or LARGEST, LARGEST))
            .with_for_update(skip_locked=True)
        )
        .mappings()
        .all()
    )
    replayed = refused = ended = 0
    for row in found:
        step, over = (
            _judge(connection, row)
            if row["state"] == ReplayState.CANARY.value
            else _go_on(connection, row)
        )
        replayed += len(step.replayed)
        refused += len(step.refused)
        ended += over
    return Advanced(replayed, refused, ended)


def _judge(connection: Connection, row: RowMapping) -> tuple[settling.Step, bool]:
    """Look what became of the canary."""
    asked = {"letter": row["canary_letter"], "message_id": row["canary_message_id"]}
    facts = connection.execute(_CANARY, asked).one()
    bead = None
    if not row["canary_message_id"] and facts.bead_id:
        bead = rows.lock_standings(connection, [facts.bead_id]).get(facts.bead_id)
    since = row["canary_quiet_since"]
    quiet_s = None
    if not facts.owed and since is not None:
        quiet_s = float(
            connection.execute(
                select(func.extract("epoch", func.clock_timestamp() - since))
            ).scalar_one()
        )
    verdict = interventions.canary(
        bead,
        interventions.owed_epoch(facts.queue, facts.epoch),
        died_again=facts.died_again,
        quiet_s=quiet_s,
    )
    if verdict.state == "failed":
        _end(connection, row, ReplayState.STOPPED, verdict.why)
        return settling.Step(), True
    if verdict.state == "well":
        _set(connection, row, state=ReplayState.RUNNING.value, advanced_at=func.clock_timestamp())
        after = _row(connection, row["id"])
        return _step(connection, after, max(1, allowance(row["rate_per_s"], 1.0)))
    if not facts.owed and since is None:
        _set(connection, row, canary_quiet_since=func.clock_timestamp())
    return settling.Step(), False


def _go_on(connection: Connection, row: RowMapping) -> tuple[settling.Step, bool]:
    """Replay what the rate allows, unless the cause is found to go on."""
    again = connection.execute(
        _AGAIN, {"fingerprint": row["fingerprint"], "last_letter": row["last_letter"]}
    ).scalar_one()
    if again:
        why = f"{again} more of the same cause died since it began: mend the cause first"
        _end(connection, row, ReplayState.STOPPED, why)
        return settling.Step(), True
    allowed = allowance(row["rate_per_s"], float(row["elapsed_s"]))
    return _step(connection, row, allowed) if allowed else (settling.Step(), False)


def _step(connection: Connection, row: RowMapping, allowed: int) -> tuple[settling.Step, bool]:
    """Replay the next letters; what came of them, and whether that was all of the group.

    A canary is the first letter that can be replayed at all.
    """
    by = Intervention(row["actor"], row["reason"], row["correlation_id"], row["traceparent"])
    canary = row["state"] == ReplayState.CANARY.value
    place, why = row["place"], row["why"]
    replayed: tuple[int, ...] = ()
    refused: tuple[int, ...] = ()
    step = settling.Step()
    while True:
        letters = settling.open_letters(
            connection, row["fingerprint"], place, row["last_letter"], min(allowed, BATCH)
        )
        if letters:
            step = settling.replay(connection, letters, by)
            place = letters[-1].id
            replayed, refused, why = (
                replayed + step.replayed, refused + step.refused, step.why or why
            )  # fmt: skip
        if not canary or replayed or not letters:
            break
    _set(
        connection, row, place=place, replayed=row["replayed"] + len(replayed),
        refused=row["refused"] + len(refused), why=why, advanced_at=func.clock_timestamp(),
    )  # fmt: skip
    if canary and replayed:
        _set(
            connection, row, canary_letter=replayed[0],
            canary_message_id=step.messages.get(replayed[0], ""),
        )  # fmt: skip
    after = _row(connection, row["id"])
    over = not _left(connection, after) and not (canary and replayed)
    if over:
        _end(connection, after, ReplayState.DONE, why)
    return settling.Step(replayed, refused, why), over


def _set(connection: Connection, row: RowMapping, **values: object) -> None:
    table = tables.replay
    connection.execute(update(table).where(table.c.id == row["id"]).values(**values))


def _end(connection: Connection, row: RowMapping, state: ReplayState, why: str) -> None:
    _set(connection, row, state=state.value, why=why, ended_at=func.clock_timestamp())
    by = Intervention("loom", why or "every letter of the group was considered")
    facts = {"replay_id": row["id"], "replayed": row["replayed"], "refused": row["refused"]}
    audit.note(connection, by, f"replay.{state.value}", row["fingerprint"], facts)


def _row(connection: Connection, id_: str) -> RowMapping:
    table = tables.replay
    return connection.execute(select(*table.c).where(table.c.id == id_)).mappings().one()


def _left(connection: Connection, row: RowMapping) -> int:
    if row["ended_at"] is not None and row["state"] == ReplayState.DONE.value:
        return 0
    asked = {name: row[name] for name in ("fingerprint", "place", "last_letter")}
    return int(connection.execute(_LEFT, asked).scalar_one())


def replay(connection: Connection, row: RowMapping) -> Replay:
    """A row of the table replay."""
    return Replay(
        id=row["id"],
        fingerprint=row["fingerprint"],
        state=ReplayState(row["state"]),
        rate_per_s=row["rate_per_s"],
        replayed=row["replayed"],
        refused=row["refused"],
        left=_left(connection, row),
        why=row["why"],
        actor=row["actor"],
        reason=row["reason"],
        created_at=row["created_at"],
        ended_at=row["ended_at"],
    )


def page(
    connection: Connection, fingerprint: str, size: int, after: str
) -> tuple[tuple[Replay, ...], str]:
    """Replays, newest first, and the next cursor. Raises Invalid."""
    table = tables.replay
    size = cursor.page_size(size, PAGE, LARGEST_PAGE)
    statement = select(*table.c).order_by(table.c.id.desc()).limit(size + 1)
    if fingerprint:
        statement = statement.where(table.c.fingerprint == fingerprint)
    if after:
        statement = statement.where(table.c.id < cursor.read(after, str)[0])
    found = connection.execute(statement).mappings().all()
    more = len(found) > size
    found = found[:size]
    replays_ = tuple(replay(connection, row) for row in found)
    return replays_, cursor.write(found[-1]["id"]) if more else ""
