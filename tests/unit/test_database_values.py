"""Cursors, what can be filed, and what the database's errors mean."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom.database import cursor, failures, filing, pool, query
from loom.database.claims import check_caller, project_of
from loom.domain.bead import NewBead
from loom.errors import DeadlineExceeded, Forbidden, Invalid, TooLarge
from loom.rpc.v1 import database_pb2 as pb

MOMENTS = st.datetimes(timezones=st.just(UTC))


@given(MOMENTS, st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_a_cursor_is_read_back_as_it_was_written(moment: datetime, bead_id: str) -> None:
    written = cursor.write_moment(moment, bead_id)
    assert written.replace("-", "").replace("_", "").isalnum(), "it goes into a URL as it is"
    assert cursor.read_moment(written) == (moment, bead_id)


@given(st.text())
def test_any_other_text_is_no_cursor(text: str) -> None:
    with pytest.raises(Invalid):
        cursor.read(text, int)
    with pytest.raises(Invalid):
        cursor.read_moment(text)


@pytest.mark.parametrize("position", [("now", "b"), ("2026-01-01T00:00:00", "b"), ("x", "\0")])
def test_a_cursor_of_a_moment_that_is_none_is_invalid(position: tuple[str, str]) -> None:
    with pytest.raises(Invalid):
        cursor.read_moment(cursor.write(*position))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0")), inner
    ),
    max_leaves=6,
)  # fmt: skip


@given(st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\0")), JSON))
def test_every_json_object_that_can_be_stored_is_a_context(value: dict[str, Any]) -> None:
    assert filing.read_context(json.dumps(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "[]", "1", "{", "{'a': 1}", '{"a": NaN}', '{"a": 1e999}', '{"a": "\\u0000"}',
        '{"\\u0000": 1}', '{"a": ["\\ud800"]}', '{"a":' * 200 + "1" + "}" * 200,
        "[" * 100_000,
    ],
)  # fmt: skip
def test_what_cannot_be_stored_is_no_context(text: str) -> None:
    with pytest.raises(Invalid):
        filing.read_context(text)


def test_a_backslash_before_u0000_is_text_and_no_nul() -> None:
    assert filing.read_context('{"a": "\\\\u0000"}') == {"a": "\\u0000"}


def test_beads_that_are_too_large_together_are_refused() -> None:
    each = NewBead("x", context={"p": "x" * 400_000})
    with pytest.raises(TooLarge):
        filing.check_beads([each] * 30)


def test_a_deadline_that_passed_opens_no_transaction() -> None:
    with pytest.raises(DeadlineExceeded):
        pool.opening(0.0)


def test_a_transaction_opens_with_its_limits_and_locks_in_one_statement() -> None:
    assert pool.opening(1.5, mode="READ ONLY", locks=(7,)) == (
        "BEGIN READ ONLY; SET LOCAL statement_timeout = 1500; SET LOCAL lock_timeout = 1500; "
        "SELECT pg_advisory_xact_lock(7)"
    )
    assert "statement_timeout = 30000" in pool.opening(55)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (psycopg.OperationalError("connection refused"), "unavailable"),
        (psycopg.errors.AdminShutdown("terminating"), "unavailable"),
        (psycopg.errors.TooManyConnections("sorry"), "unavailable"),
        (psycopg.errors.InvalidCatalogName("no such database"), "unavailable"),
        (psycopg.errors.DeadlockDetected("deadlock"), "unavailable"),
        (psycopg.errors.QueryCanceled("statement timeout"), "deadline"),
        (psycopg.errors.LockNotAvailable("lock timeout"), "deadline"),
        (psycopg.errors.CheckViolation("check"), "invalid"),
        (psycopg.DataError("NUL"), "invalid"),
        (psycopg.errors.NumericValueOutOfRange("range"), "invalid"),
    ],
)
def test_each_error_of_the_database_has_its_meaning(error: psycopg.Error, code: str) -> None:
    meaning = failures.of_driver(error)
    assert meaning is not None
    assert meaning.code == code


def test_a_fault_of_the_services_own_has_no_other_meaning() -> None:
    assert failures.of_driver(psycopg.errors.UndefinedTable("bead")) is None
    assert failures.named(ValueError("x")) is None


def test_an_agent_is_tied_to_its_project_and_nobody_else_is() -> None:
    assert project_of("agent-alpha") == "alpha"
    check_caller("agent-alpha", "alpha")
    check_caller("engine", "alpha")
    with pytest.raises(Forbidden):
        check_caller("agent-alpha", "alpha-2")


@given(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")) | st.binary()
)  # fmt: skip
def test_a_value_that_the_contract_has_a_kind_for_comes_back_as_it_was(value: Any) -> None:
    again = query.parameter(pb.Value.FromString(query.value_to_pb(value).SerializeToString()))
    assert again == value
    assert type(again) is type(value)


@pytest.mark.parametrize(("value", "text"), [(2**63, str(2**63)), ([1, None], "[1, null]")])
def test_any_other_value_travels_as_text(value: Any, text: str) -> None:
    assert query.value_to_pb(value).text == text
