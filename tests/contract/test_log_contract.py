"""The live logs of attempts: one suite for the ledger in memory and the real one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from test_ledger_contract import INFRA, PROVEN, WORK, World, real, said, world

from loom.domain.bead import Bead, NewBead
from loom.domain.log import (
    KEPT_ATTEMPT_BYTES,
    LineKind,
    LogChunk,
    LogLine,
    LogPage,
    LogState,
    LogVerdict,
)
from loom.domain.outbox import ResultVerdict
from loom.domain.retention import DAY_S, Ages, Forgotten
from loom.errors import Invalid, NotFound
from loom.testing.infrastructure import Infrastructure

__all__ = ["real", "world"]

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


def chunk(bead: Bead, seq: int, *texts: str, epoch: int = 1, **other: Any) -> LogChunk:
    """Chunks of three lines each, unless first says otherwise."""
    lines = tuple(LogLine(AT, text, "test") for text in texts)
    words = {"project_id": bead.project_id, "first": 3 * seq - 2, "lines": lines} | other
    return LogChunk(bead_id=bead.id, epoch=epoch, seq=seq, **words)


def three(bead: Bead, seq: int, **other: Any) -> LogChunk:
    return chunk(bead, seq, *(f"{seq}.{n}" for n in (1, 2, 3)), **other)


def texts(page: LogPage) -> list[str]:
    return [each.line.text for each in page.lines]


def running(world: World) -> Bead:
    world.project()
    bead = world.bead()
    world.claim(bead)
    return bead


def append(world: World, *chunks: LogChunk) -> list[LogVerdict]:
    return list(world.ingester.append_logs(chunks))


def read_on(
    world: World, bead: Bead, cursor: str = "", **how: Any
) -> tuple[Sequence[str], LogPage]:
    """Every line up to where the log stands, and the last page."""
    found: list[str] = []
    while True:
        page = world.control.read_log(bead.id, cursor=cursor, **how)
        found += texts(page)
        cursor = str(page.next)
        if page.state is not LogState.MORE:
            return found, page


def test_lines_are_read_as_they_were_told(world: World) -> None:
    bead = running(world)
    lines = (
        LogLine(AT, "pytest -q", "test", LineKind.BEGIN),
        LogLine(AT, "\x1b[32m... é\t", "test", more=True),
        LogLine(AT, "", "test"),
        LogLine(AT, "… 7 lines left out here", kind=LineKind.LEFT_OUT),
    )
    sent = LogChunk(bead.project_id, bead.id, 1, 1, 1, lines)
    assert append(world, sent) == [LogVerdict.KEPT]
    page = world.control.read_log(bead.id)
    assert tuple(each.line for each in page.lines) == lines
    assert page.state is LogState.QUIET
    assert page.next == page.lines[-1].cursor


def test_a_chunk_that_comes_twice_changes_nothing(world: World) -> None:
    bead = running(world)
    assert append(world, three(bead, 1), three(bead, 1)) == [LogVerdict.KEPT, LogVerdict.KNOWN]
    assert append(world, chunk(bead, 1, "another"), three(bead, 2)) == [
        LogVerdict.KNOWN,
        LogVerdict.KEPT,
    ]
    assert read_on(world, bead)[0] == ["1.1", "1.2", "1.3", "2.1", "2.2", "2.3"]


def test_chunks_that_come_out_of_order_are_read_in_order(world: World) -> None:
    bead = running(world)
    append(world, three(bead, 3), three(bead, 1))
    first, page = read_on(world, bead)
    assert first == ["1.1", "1.2", "1.3"]
    assert page.again_s > 0, "what is missing is waited for"
    append(world, three(bead, 2))
    rest, _ = read_on(world, bead, str(page.next))
    assert rest == ["2.1", "2.2", "2.3", "3.1", "3.2", "3.3"]


def test_lines_that_never_come_are_told_of_after_a_while(world: World) -> None:
    bead = running(world)
    append(world, three(bead, 1), three(bead, 4))
    first, page = read_on(world, bead)
    world.advance(10)
    rest, _ = read_on(world, bead, str(page.next))
    assert [*first, *rest] == [
        "1.1", "1.2", "1.3", "… 6 lines did not arrive here", "4.1", "4.2", "4.3",
    ]  # fmt: skip


def test_a_reader_goes_on_after_any_line_exactly(world: World) -> None:
    bead = running(world)
    append(world, *(three(bead, seq) for seq in (1, 2, 4)))
    world.advance(10)
    whole = world.control.read_log(bead.id)
    for index, each in enumerate(whole.lines):
        rest, _ = read_on(world, bead, str(each.cursor), limit=2)
        assert rest == texts(whole)[index + 1 :]


def test_who_begins_now_gets_what_comes_after(world: World) -> None:
    bead = running(world)
    append(world, three(bead, 1))
    page = world.control.read_log(bead.id, from_now=True)
    assert page.lines == ()
    append(world, three(bead, 2))
    assert read_on(world, bead, str(page.next))[0] == ["2.1", "2.2", "2.3"]


def test_an_attempt_that_lost_its_lease_says_nothing_any_more(world: World) -> None:
    bead = running(world)
    append(world, three(bead, 1))
    world.advance(31)
    assert append(world, three(bead, 2)) == [LogVerdict.STALE]
    world.engine.expire_leases()
    world.claim(bead, epoch=2)
    assert append(world, three(bead, 2), three(bead, 1, epoch=2)) == [
        LogVerdict.STALE,
        LogVerdict.KEPT,
    ]
    assert texts(world.control.read_log(bead.id, 1)) == ["1.1", "1.2", "1.3"]
    assert texts(world.control.read_log(bead.id, 2)) == ["1.1", "1.2", "1.3"]


def test_nobody_speaks_of_a_bead_of_another_project_or_of_an_attempt_that_is_not(
    world: World,
) -> None:
    bead = running(world)
    world.project("beta")
    forged = three(bead, 1, project_id="beta")
    nobodys = LogChunk("alpha", "bd-nowhere", 1, 1, 1, ())
    assert append(world, forged, nobodys, three(bead, 1, epoch=9)) == [LogVerdict.UNKNOWN] * 3
    assert read_on(world, bead)[0] == []


def test_last_lines_may_come_after_the_result_but_not_for_ever(world: World) -> None:
    bead = running(world)
    append(world, three(bead, 1))
    world.report(said(bead, PROVEN))
    _, page = read_on(world, bead)
    assert page.state is LogState.QUIET
    assert page.again_s > 0, "the rest is waited for"
    assert append(world, three(bead, 2, last=True)) == [LogVerdict.KEPT]
    rest, page = read_on(world, bead, str(page.next))
    assert (rest, page.state) == (["2.1", "2.2", "2.3"], LogState.ENDED)


def test_a_log_whose_end_never_comes_ends_with_its_bead(world: World) -> None:
    bead = running(world)
    append(world, three(bead, 1))
    world.report(said(bead, PROVEN))
    world.advance(10)
    assert read_on(world, bead)[1].state is LogState.ENDED


def test_a_reader_follows_over_to_the_next_attempt(world: World) -> None:
    bead = running(world)
    append(world, chunk(bead, 1, "first", last=True))
    _, page = read_on(world, bead)
    world.report(said(bead, INFRA))
    none, page = read_on(world, bead, str(page.next))
    assert (none, page.state) == ([], LogState.QUIET), "another attempt is due"
    world.claim(bead, epoch=2)
    append(world, chunk(bead, 1, "second", epoch=2))
    more, page = read_on(world, bead, str(page.next))
    assert more == ["second"]
    assert page.lines[-1].cursor.epoch == 2
    only, page = read_on(world, bead, epoch=1)
    assert (only, page.state) == (["first"], LogState.ENDED)
    assert read_on(world, bead)[0] == ["second"], "the newest, unless another is asked for"


def test_a_follower_may_come_before_the_first_attempt(world: World) -> None:
    world.project()
    bead = world.bead()
    none, page = read_on(world, bead)
    assert (none, page.state) == ([], LogState.QUIET)
    world.claim(bead)
    append(world, chunk(bead, 1, "first"))
    assert read_on(world, bead, str(page.next))[0] == ["first"]


def test_a_blocked_bead_ends_what_follows_it(world: World) -> None:
    bead = running(world)
    append(world, chunk(bead, 1, "no", last=True))
    world.report(said(bead, WORK))
    assert read_on(world, bead)[1].state is LogState.ENDED


def test_an_attempt_is_heard_up_to_a_limit(world: World) -> None:
    bead = running(world)
    wide = tuple(LogLine(AT, "x" * 8_000) for _ in range(200))
    size = LogChunk("alpha", bead.id, 1, 1, 1, wide).size
    fits = KEPT_ATTEMPT_BYTES // size
    verdicts = [
        append(world, LogChunk("alpha", bead.id, 1, seq, 1, wide))[0] for seq in range(1, fits + 2)
    ]
    assert verdicts == [LogVerdict.KEPT] * fits + [LogVerdict.FULL]


def test_a_log_that_is_not_there_is_not_found_and_a_cursor_of_no_log_invalid(world: World) -> None:
    bead = running(world)
    for asked in (("bd-nowhere",), (bead.id, 7)):
        with pytest.raises(NotFound):
            world.control.read_log(*asked)
    for wrong in ({"cursor": "x"}, {"cursor": "1.1.1", "epoch": 2}, {"limit": 9_999}):
        with pytest.raises(Invalid):
            world.control.read_log(bead.id, **wrong)


def test_a_watcher_hears_of_lines_and_of_moves(world: World) -> None:
    bead = running(world)
    known = world.control.watch_logs({bead.id: "", "bd-nowhere": ""})
    assert list(known) == [bead.id]
    assert world.control.watch_logs(known) == {}
    append(world, three(bead, 1))
    heard = world.control.watch_logs(known, wait_ms=5_000)
    assert list(heard) == [bead.id]
    world.report(said(bead, PROVEN))
    assert list(world.control.watch_logs(heard, wait_ms=5_000)) == [bead.id]


def test_logs_are_forgotten_a_while_after_their_attempt(world: World) -> None:
    bead = running(world)
    append(world, chunk(bead, 1, "old", last=True))
    world.report(said(bead, PROVEN))
    assert world.engine.forget_old(Ages(logs=2 * DAY_S)).logs == 0
    world.advance(3 * DAY_S)
    assert world.engine.forget_old(Ages(logs=0)).logs == 0, "0 keeps them for ever"
    assert world.engine.forget_old(Ages(logs=2 * DAY_S)).logs == 1
    none, page = read_on(world, bead)
    assert (none, page.state) == ([], LogState.ENDED)
    assert append(world, chunk(bead, 1, "late")) == [LogVerdict.STALE]
    with pytest.raises(Invalid):
        world.engine.forget_old(Ages(inbox=10))


def test_what_guards_against_repetition_is_forgotten_when_it_is_old(
    real: tuple[World, Any], infrastructure: Infrastructure
) -> None:
    world, empty = real
    empty()
    world.project()
    made = [
        world.control.create_beads("alpha", [NewBead("x")], "c", "", ("key", "f")) for _ in "ab"
    ]
    assert made[0].items == made[1].items
    world.claim(made[0].items[0])
    report = said(made[0].items[0], PROVEN)
    world.report(report)
    assert world.engine.forget_old(Ages()) == Forgotten()
    owner = infrastructure.migration_named("test_log_contract")
    with psycopg.connect(
        host=owner.host, port=owner.port, dbname=owner.name, user=owner.user,
        password=owner.password.get_secret_value(), autocommit=True,
    ) as sql:  # fmt: skip
        for days in (20, 40):
            sql.execute(
                "INSERT INTO query_audit (caller, sql, parameters, row_count, duration_s, error, "
                "at) VALUES ('operator', 'SELECT 1', 0, 1, 0.1, '', "
                "clock_timestamp() - %s * interval '1 day')",
                (days,),
            )
        sql.execute("UPDATE inbox SET received_at = received_at - interval '31 days'")
        sql.execute("UPDATE idempotency SET created_at = created_at - interval '8 days'")
        gone = world.engine.forget_old(Ages(query_audit=2 * DAY_S))
        assert gone == Forgotten(0, 1, 1, 1), "of the audit, thirty days are kept in any case"
        assert sql.execute("SELECT count(*) FROM query_audit").fetchone() == (1,)
    assert world.report(report) == [ResultVerdict.STALE], "its epoch fences it all the same"
