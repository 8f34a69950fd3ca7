"""What a bead waits for: ageing ranks, due times, blockers, shares, caps, pauses and limits."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE project
    ADD COLUMN state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'draining')),
    ADD COLUMN weight bigint NOT NULL DEFAULT 10 CHECK (weight BETWEEN 1 AND 100),
    ADD COLUMN max_in_progress bigint NOT NULL DEFAULT 0 CHECK (max_in_progress >= 0),
    ADD COLUMN max_attempts bigint NOT NULL DEFAULT 0 CHECK (max_attempts >= 0),
    ADD COLUMN started double precision NOT NULL DEFAULT 0,
    ADD COLUMN finished double precision NOT NULL DEFAULT 0;
-- Its share is counted in its row with every lease: that takes no new place in an index.
ALTER TABLE project SET (fillfactor = 50);

ALTER TABLE bead
    ADD COLUMN not_before timestamptz,
    ADD COLUMN blocked_by text[] NOT NULL DEFAULT '{}',
    ADD COLUMN parent text NOT NULL DEFAULT '',
    ADD COLUMN max_attempts bigint NOT NULL DEFAULT 0 CHECK (max_attempts >= 0),
    ADD COLUMN gated boolean NOT NULL DEFAULT false;
CREATE INDEX bead_in_progress ON bead (project_id) WHERE state = 'in_progress';
-- Who waits for a bead: those that name it, and its parent.
CREATE INDEX bead_gated_by ON bead USING gin (blocked_by) WHERE gated;
CREATE INDEX bead_of_parent ON bead (parent) WHERE parent <> '';

ALTER TABLE outbox
    ADD COLUMN rank timestamptz NOT NULL DEFAULT 'epoch',
    ADD COLUMN gated boolean NOT NULL DEFAULT false;
UPDATE outbox o SET rank = b.created_at + o.priority * interval '1 hour'
  FROM bead b WHERE o.kind = 'task' AND b.id = o.bead_id;
DROP INDEX outbox_task_order;
CREATE INDEX outbox_task_order ON outbox (project_id, rank, id) WHERE kind = 'task' AND NOT gated;
"""

DOWNGRADE = """
DROP INDEX outbox_task_order;
CREATE INDEX outbox_task_order ON outbox (project_id, priority, id) WHERE kind = 'task';
ALTER TABLE outbox DROP COLUMN gated, DROP COLUMN rank;
DROP INDEX bead_of_parent;
DROP INDEX bead_gated_by;
DROP INDEX bead_in_progress;
ALTER TABLE bead
    DROP COLUMN gated, DROP COLUMN max_attempts, DROP COLUMN parent, DROP COLUMN blocked_by,
    DROP COLUMN not_before;
ALTER TABLE project RESET (fillfactor);
ALTER TABLE project
    DROP COLUMN finished, DROP COLUMN started, DROP COLUMN max_attempts,
    DROP COLUMN max_in_progress, DROP COLUMN weight, DROP COLUMN state;
"""


def upgrade() -> None:
    """Add what waiting needs; beads that wait already keep their order."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take it away: paused projects go on, and nothing waits for another bead."""
    op.execute(DOWNGRADE)
