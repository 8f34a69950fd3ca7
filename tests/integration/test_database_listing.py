"""Lists of beads in a ledger that has many: every one is read from an index."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy.dialects import postgresql

from loom.database import listing, migrate
from loom.domain.listing import BeadFilter, BeadSort
from loom.testing.infrastructure import Infrastructure

NAME = "test_listing"
BEADS = int(os.environ.get("LOOM_LISTED_BEADS", "10000"))
"""Enough for the planner to tell an index from a scan; 100000 takes a minute."""

# Of 40 projects; one has most of the beads, and nearly all of them ended.
_FILL = """
INSERT INTO project (id, repository, name, default_branch, test_command, timeout_s, queue_window)
SELECT 'p' || n, '/r', 'p' || n, 'main', '[]', 60, 10 FROM generate_series(0, 39) n;
INSERT INTO bead (id, project_id, title, description, context, priority, state, resolution,
                  reason, correlation_id, created_at, updated_at, closed_at, assignee, parent)
SELECT 'bd-' || md5(n::text), CASE WHEN n %% 10 = 0 THEN 'p' || n / 10 %% 40 ELSE 'p0' END,
       md5((n + 1)::text) || ' ' || md5((n + 2)::text), repeat('words ', 50), '{}', n %% 4,
       s.state, CASE WHEN s.state = 'closed' THEN 'succeeded' END,
       CASE WHEN s.state = 'blocked' THEN 'no disk left' ELSE '' END, 'corr',
       now() - n * interval '1 second', now() - (n * 7919 %% %(beads)s) * interval '1 second',
       CASE WHEN s.state = 'closed' THEN now() END, CASE WHEN n %% 500 = 0 THEN 'ada' ELSE '' END,
       CASE WHEN n %% 500 = 1 THEN 'bd-' || md5('0') ELSE '' END
  FROM generate_series(0, %(beads)s - 1) n,
       LATERAL (SELECT CASE WHEN n %% 97 = 0 THEN 'open' WHEN n %% 89 = 0 THEN 'blocked'
                            ELSE 'closed' END) AS s (state);
ANALYZE bead, bead_search, attempt
"""

MINUTE = timedelta(minutes=1)
LONG_AGO = datetime.now(UTC) - timedelta(seconds=BEADS // 2)
FILTERS = {
    "everything": {},
    "a large project": {"projects": ("p0",)},
    "a small project": {"projects": ("p7",)},
    "several projects": {"projects": ("p0", "p1", "p2")},
    "a rare state": {"states": ("open",)},
    "a rare state of a project": {"projects": ("p0",), "states": ("blocked",)},
    "states": {"states": ("open", "in_progress", "blocked")},
    "most": {"resolution": "succeeded"},
    "a priority": {"priorities": (0,)},
    "a parent": {"parent": "bd-cfcd208495d565ef66e7dff9f98764da"},
    "a person": {"assignee": "ada"},
    "an agent": {"agent": "agent-p0"},
    "a reason of what is blocked": {"states": ("blocked",), "reason": "disk"},
    "a text": {"text": "c81e728d9d4c2f63"},
    "a text that nobody has": {"text": "no such words"},
    "a time": {"created_since": LONG_AGO - MINUTE, "created_until": LONG_AGO},
    "a time of change": {"updated_since": datetime.now(UTC) - MINUTE},
}  # fmt: skip


@pytest.fixture(scope="module")
def filled(infrastructure: Infrastructure) -> Iterator[psycopg.Connection[Any]]:
    """The schema's owner, on a ledger with many beads."""
    infrastructure.make_database(NAME)
    login = infrastructure.migration_named(NAME)
    migrate.upgrade(login)
    with psycopg.connect(
        host=login.host, port=login.port, dbname=login.name, user=login.user,
        password=login.password.get_secret_value(), autocommit=True,
    ) as connection:  # fmt: skip
        for statement in _FILL.split(";\n"):
            connection.execute(statement, {"beads": BEADS} if "%" in statement else None)
        yield connection


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A node of a query's plan and all below it."""
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


@pytest.mark.parametrize("sort", BeadSort)
def test_no_list_reads_the_whole_table(filled: psycopg.Connection[Any], sort: BeadSort) -> None:
    for name, words in FILTERS.items():
        statement = listing.statement(BeadFilter(**words), sort, 51)
        query = str(
            statement.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
        )
        found = filled.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}".replace("%", "%%"), ())
        (plan,) = found.fetchone() or ({},)
        kinds = [each["Node Type"] for each in nodes(plan[0]["Plan"])]
        if "LOOM_LISTED_BEADS" in os.environ:
            print(f"{sort:10} {name:30} {plan[0]['Execution Time']:8.2f} ms", kinds)
        scans = [
            each
            for each in nodes(plan[0]["Plan"])
            if each["Node Type"] == "Seq Scan" and each.get("Relation Name") == "bead"
        ]
        assert not scans, (sort, name)
