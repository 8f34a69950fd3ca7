"""The live logs of attempts; and what is old may be forgotten."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE log_chunk (
    bead_id text NOT NULL,
    epoch bigint NOT NULL,
    seq bigint NOT NULL CHECK (seq >= 1),
    first bigint NOT NULL CHECK (first >= 1),
    lines jsonb NOT NULL CHECK (jsonb_typeof(lines) = 'array'),
    size bigint NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (bead_id, epoch, seq)
);
-- A row is written anew with every few lines: that takes no new place in an index.
CREATE TABLE attempt_log (
    bead_id text NOT NULL,
    epoch bigint NOT NULL,
    chunks bigint NOT NULL,
    size bigint NOT NULL,
    last bigint NOT NULL,
    PRIMARY KEY (bead_id, epoch)
) WITH (autovacuum_vacuum_scale_factor = 0.02, fillfactor = 50);
GRANT SELECT, INSERT, UPDATE, DELETE ON log_chunk, attempt_log TO loom_service;
GRANT SELECT ON log_chunk, attempt_log TO loom_reader;

-- The audit of queries is written once, and not even the service changes a line of it: what it may
-- do is forget the oldest, by a function that forgets nothing of the last thirty days.
CREATE INDEX query_audit_age ON query_audit (at);
CREATE FUNCTION forget_query_audit(older_than interval, most bigint) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
    WITH gone AS (
        DELETE FROM public.query_audit WHERE id IN (
            SELECT id FROM public.query_audit
             WHERE at < clock_timestamp() - greatest(older_than, interval '30 days')
             ORDER BY at LIMIT most)
        RETURNING 1)
    SELECT count(*) FROM gone
$$;
REVOKE ALL ON FUNCTION forget_query_audit(interval, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_query_audit(interval, bigint) TO loom_service;
"""

DOWNGRADE = """
DROP FUNCTION forget_query_audit(interval, bigint);
DROP INDEX query_audit_age;
DROP TABLE attempt_log;
DROP TABLE log_chunk;
"""


def upgrade() -> None:
    """Make the tables; attempts that were made before have no live log."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Drop them, with every live log."""
    op.execute(DOWNGRADE)
