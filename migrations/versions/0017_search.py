"""A text within beads' titles and ids is looked up beside them: their own rows change too often."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

UPGRADE = """
DROP INDEX bead_words;
CREATE TABLE bead_search (bead_id text PRIMARY KEY, words text NOT NULL);
INSERT INTO bead_search SELECT id, id || ' ' || title FROM bead;
-- Such an index costs ten times what the row does: it is paid for once a bead, not with each move.
CREATE INDEX bead_search_words ON bead_search USING gin (words gin_trgm_ops);
GRANT SELECT, INSERT, UPDATE, DELETE ON bead_search TO loom_service;
GRANT SELECT ON bead_search TO loom_reader;

CREATE FUNCTION bead_search_filed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO bead_search SELECT id, id || ' ' || title FROM filed
        ON CONFLICT (bead_id) DO UPDATE SET words = excluded.words;
    RETURN NULL;
END $$;
CREATE FUNCTION bead_search_edited() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE bead_search SET words = new.id || ' ' || new.title WHERE bead_id = new.id;
    RETURN NULL;
END $$;
CREATE TRIGGER bead_search_filed AFTER INSERT ON bead
    REFERENCING NEW TABLE AS filed FOR EACH STATEMENT EXECUTE FUNCTION bead_search_filed();
CREATE TRIGGER bead_search_edited AFTER UPDATE OF title ON bead
    FOR EACH ROW WHEN (old.title IS DISTINCT FROM new.title) EXECUTE FUNCTION bead_search_edited();
"""

DOWNGRADE = """
DROP TRIGGER bead_search_edited ON bead;
DROP TRIGGER bead_search_filed ON bead;
DROP FUNCTION bead_search_edited();
DROP FUNCTION bead_search_filed();
DROP TABLE bead_search;
CREATE INDEX bead_words ON bead USING gin ((id || ' ' || title) gin_trgm_ops);
"""


def upgrade() -> None:
    """Keep the words of every bead in a table of their own."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Look them up in the beads again."""
    op.execute(DOWNGRADE)
