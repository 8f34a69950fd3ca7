"""A project's soft time limit, after which a command is asked to end."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE project
    ADD COLUMN soft_timeout_s bigint NOT NULL DEFAULT 0 CHECK (soft_timeout_s >= 0);
"""

DOWNGRADE = """
ALTER TABLE project DROP COLUMN soft_timeout_s;
"""


def upgrade() -> None:
    """Add the column; no command of a project that is there is asked."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take it away: commands run to their hard limit."""
    op.execute(DOWNGRADE)
