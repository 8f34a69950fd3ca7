"""Comments on beads and projects."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE comment (
    id text PRIMARY KEY,
    project_id text NOT NULL,
    -- Empty: on the project.
    bead_id text NOT NULL DEFAULT '',
    author text NOT NULL,
    text text NOT NULL,
    created_at timestamptz NOT NULL,
    edited_at timestamptz,
    deleted_at timestamptz,
    source text NOT NULL DEFAULT '',
    -- What an import knows it by again; empty where it was written here.
    mark text NOT NULL DEFAULT '',
    CONSTRAINT comment_deleted_is_empty CHECK (deleted_at IS NULL OR text = '')
);
CREATE INDEX comment_of_bead ON comment (bead_id, created_at, id);
CREATE INDEX comment_of_project ON comment (project_id, created_at, id) WHERE bead_id = '';
GRANT SELECT, INSERT, UPDATE, DELETE ON comment TO loom_service;
GRANT SELECT ON comment TO loom_reader;
"""

DOWNGRADE = "DROP TABLE comment"


def upgrade() -> None:
    """Make the table."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Drop it, with every comment."""
    op.execute(DOWNGRADE)
