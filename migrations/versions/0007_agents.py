"""Which agents there are, what each said last, and what people want of it."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0005"
branch_labels = None
depends_on = None

UPGRADE = """
-- A row is written anew every few seconds: that takes no new place in an index.
CREATE TABLE agent (
    name text PRIMARY KEY,
    project_id text NOT NULL,
    instance text NOT NULL,
    host text NOT NULL,
    pid bigint NOT NULL,
    versions jsonb NOT NULL,
    tools jsonb NOT NULL,
    concurrency bigint NOT NULL,
    running jsonb NOT NULL,
    consuming boolean NOT NULL,
    load double precision NOT NULL,
    disk_free bigint NOT NULL,
    wish text NOT NULL DEFAULT 'work' CHECK (wish IN ('work', 'drain', 'stop')),
    started_at timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    ended_at timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0.02, fillfactor = 50);
CREATE INDEX agent_of_project ON agent (project_id);
GRANT SELECT, INSERT, UPDATE, DELETE ON agent TO loom_service;
GRANT SELECT ON agent TO loom_reader;
"""


def upgrade() -> None:
    """Make the table; agents that run already register when they start anew."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Drop it: agents work on, and nobody sees them."""
    op.execute("DROP TABLE agent")
