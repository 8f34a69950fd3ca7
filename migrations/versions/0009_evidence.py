"""What attempts show: notes, and a failure class for test steps that found no test."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE attempt ADD COLUMN notes text NOT NULL DEFAULT '';
-- Made again at once; it lets more through.
-- squawk-ignore ban-drop-constraint
ALTER TABLE attempt DROP CONSTRAINT attempt_failure_class_check;
ALTER TABLE attempt ADD CONSTRAINT attempt_failure_class_check
    CHECK (failure_class IN ('work', 'infra', 'timeout', 'no_tests'));
"""

DOWNGRADE = """
UPDATE attempt SET failure_class = 'work' WHERE failure_class = 'no_tests';
ALTER TABLE attempt DROP CONSTRAINT attempt_failure_class_check;
ALTER TABLE attempt ADD CONSTRAINT attempt_failure_class_check
    CHECK (failure_class IN ('work', 'infra', 'timeout'));
ALTER TABLE attempt DROP COLUMN notes;
"""


def upgrade() -> None:
    """Add the column and the class."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take them away: the notes are gone, and no tests counts as the work's own failure."""
    op.execute(DOWNGRADE)
