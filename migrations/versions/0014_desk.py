"""Versions and the closing of projects; assigned beads; lists in more orders, and by their words."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE project ADD COLUMN version bigint NOT NULL DEFAULT 1;
-- squawk-ignore ban-drop-constraint
ALTER TABLE project DROP CONSTRAINT project_state_check;
ALTER TABLE project ADD CONSTRAINT project_state_check
    CHECK (state IN ('active', 'paused', 'draining', 'closed')) NOT VALID;
-- The table has a row a project: it is read at once.
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE project VALIDATE CONSTRAINT project_state_check;

ALTER TABLE bead ADD COLUMN assignee text NOT NULL DEFAULT '';
CREATE INDEX bead_of_assignee ON bead (assignee) WHERE assignee <> '';
-- Lists by their last change, and by priority.
CREATE INDEX bead_latest ON bead (updated_at, id);
CREATE INDEX bead_by_priority ON bead (priority, created_at, id);
-- A text within the id or the title, and within the reason.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX bead_words ON bead USING gin ((id || ' ' || title) gin_trgm_ops);
"""

DOWNGRADE = """
DROP INDEX bead_words;
DROP INDEX bead_by_priority;
DROP INDEX bead_latest;
DROP INDEX bead_of_assignee;
UPDATE bead b SET gated = EXISTS (SELECT FROM bead k WHERE k.id = ANY(b.blocked_by)
                                     AND k.resolution IS DISTINCT FROM 'succeeded')
                       OR EXISTS (SELECT FROM bead c WHERE c.parent = b.id AND c.parent <> ''
                                     AND c.resolution IS DISTINCT FROM 'succeeded')
 WHERE b.assignee <> '';
UPDATE outbox o SET gated = b.gated FROM bead b
 WHERE o.kind = 'task' AND o.bead_id = b.id AND b.assignee <> '' AND o.gated <> b.gated;
ALTER TABLE bead DROP COLUMN assignee;
UPDATE project SET state = 'paused' WHERE state = 'closed';
ALTER TABLE project DROP CONSTRAINT project_state_check;
ALTER TABLE project ADD CONSTRAINT project_state_check
    CHECK (state IN ('active', 'paused', 'draining')) NOT VALID;
ALTER TABLE project VALIDATE CONSTRAINT project_state_check;
ALTER TABLE project DROP COLUMN version;
"""


def upgrade() -> None:
    """Add what people at the desk need."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take it away: closed projects are paused, and nobody has taken a bead by hand."""
    op.execute(DOWNGRADE)
