"""Beads that came from other trackers, and work that ended there."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

UPGRADE = """
-- Made again at once; it lets more through.
-- squawk-ignore ban-drop-constraint
ALTER TABLE bead DROP CONSTRAINT bead_resolution_check;
ALTER TABLE bead ADD CONSTRAINT bead_resolution_check
    CHECK (resolution IN ('succeeded', 'failed', 'cancelled', 'recorded'));

CREATE TABLE origin (
    bead_id text PRIMARY KEY,
    project_id text NOT NULL,
    source text NOT NULL,
    external_id text NOT NULL,
    record jsonb NOT NULL CHECK (jsonb_typeof(record) = 'object'),
    -- Ids that the record names and that the bead is not linked with.
    pending text[] NOT NULL DEFAULT '{}',
    imported_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (project_id, source, external_id)
);
CREATE INDEX origin_pending ON origin USING gin (pending) WHERE pending <> '{}';
CREATE UNIQUE INDEX comment_once ON comment (bead_id, mark) WHERE mark <> '';
GRANT SELECT, INSERT, UPDATE, DELETE ON origin TO loom_service;
GRANT SELECT ON origin TO loom_reader;
"""

DOWNGRADE = """
DROP INDEX comment_once;
DROP TABLE origin;
UPDATE bead SET resolution = 'cancelled' WHERE resolution = 'recorded';
ALTER TABLE bead DROP CONSTRAINT bead_resolution_check;
ALTER TABLE bead ADD CONSTRAINT bead_resolution_check
    CHECK (resolution IN ('succeeded', 'failed', 'cancelled'));
"""


def upgrade() -> None:
    """Make room for what an import keeps."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Forget where beads came from; what ended elsewhere counts as cancelled."""
    op.execute(DOWNGRADE)
