"""Events get a place in the journal that never changes; agents that are lost are told of once."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

UPGRADE = """
-- Grows when the ledger is restored from a dump: the numbers of transactions begin anew then.
CREATE FUNCTION event_era() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 1;
-- Both defaults are settled when the statement begins, so that no row is written anew.
ALTER TABLE event
    ADD COLUMN era bigint NOT NULL DEFAULT 1,
    ADD COLUMN xid bigint NOT NULL DEFAULT CAST(CAST(pg_current_xact_id() AS text) AS bigint);
ALTER TABLE event ALTER COLUMN era SET DEFAULT event_era();
CREATE INDEX event_order ON event (era, xid, id);
CREATE INDEX event_of_project ON event (project_id, era, xid, id);

ALTER TABLE agent ADD COLUMN lost boolean NOT NULL DEFAULT false;
"""

DOWNGRADE = """
ALTER TABLE agent DROP COLUMN lost;
DROP INDEX event_of_project;
DROP INDEX event_order;
ALTER TABLE event DROP COLUMN xid, DROP COLUMN era;
DROP FUNCTION event_era();
"""


def upgrade() -> None:
    """Give every event its place; those that are there stand in the order of their ids."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take the places away."""
    op.execute(DOWNGRADE)
