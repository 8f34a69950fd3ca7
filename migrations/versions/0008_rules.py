"""A project's rules: what its beads may do, how far, and how they are proven."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE project ADD COLUMN rules jsonb NOT NULL DEFAULT '{}';
"""

DOWNGRADE = """
ALTER TABLE project DROP COLUMN rules;
"""


def upgrade() -> None:
    """Add the column; projects that are there get the default rules."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take it away: every project has the default rules."""
    op.execute(DOWNGRADE)
