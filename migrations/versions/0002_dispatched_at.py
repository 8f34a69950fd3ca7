"""When a bead's task was dispatched, so that one that waits for too long is found.

Revises: 0001
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the moment; it is unknown of what was dispatched before."""
    op.execute("ALTER TABLE bead ADD COLUMN dispatched_at timestamptz")


def downgrade() -> None:
    """Forget the moments."""
    op.execute("ALTER TABLE bead DROP COLUMN dispatched_at")
