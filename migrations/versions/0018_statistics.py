"""What ended lately is found by when it did, for counts over the last minute and the last days."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE INDEX bead_closed ON bead (closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX attempt_finished ON attempt (finished_at) WHERE finished_at IS NOT NULL;
"""

DOWNGRADE = """
DROP INDEX attempt_finished;
DROP INDEX bead_closed;
"""


def upgrade() -> None:
    """Add the indexes."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take them away."""
    op.execute(DOWNGRADE)
