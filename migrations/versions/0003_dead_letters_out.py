"""Dead letters get states and ways out; replays of groups; the audit trail; cancelled attempts."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UPGRADE = """
ALTER TABLE dead_letter
    ADD COLUMN state text NOT NULL DEFAULT 'open',
    ADD COLUMN size bigint NOT NULL DEFAULT 0,
    ADD COLUMN cut boolean NOT NULL DEFAULT false,
    ADD COLUMN content_type text NOT NULL DEFAULT '',
    ADD COLUMN settled_at timestamptz,
    ADD COLUMN settled_by text NOT NULL DEFAULT '',
    ADD COLUMN note text NOT NULL DEFAULT '',
    ADD COLUMN sweep_tries bigint NOT NULL DEFAULT 0,
    ADD COLUMN swept boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT dead_letter_state CHECK (state IN ('open', 'replayed', 'discarded')),
    ADD CONSTRAINT dead_letter_settled_has_moment
        CHECK ((state = 'open') = (settled_at IS NULL));
-- Until now at most 64 KiB were kept and nobody wrote down how much there was.
UPDATE dead_letter SET size = length(body), cut = length(body) >= 65536;
CREATE INDEX dead_letter_of_group ON dead_letter (fingerprint, id);
CREATE INDEX dead_letter_open_of_bead ON dead_letter (bead_id) WHERE state = 'open';
CREATE INDEX dead_letter_to_sweep ON dead_letter (id) WHERE state <> 'open' AND NOT swept;

CREATE TABLE replay (
    id text PRIMARY KEY,
    fingerprint text NOT NULL,
    state text NOT NULL CHECK (state IN ('canary', 'running', 'done', 'stopped')),
    rate_per_s double precision NOT NULL CHECK (rate_per_s > 0),
    canary_letter bigint,
    canary_message_id text NOT NULL DEFAULT '',
    canary_quiet_since timestamptz,
    place bigint NOT NULL DEFAULT 0,
    last_letter bigint NOT NULL,
    replayed bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    why text NOT NULL DEFAULT '',
    actor text NOT NULL,
    reason text NOT NULL,
    correlation_id text NOT NULL,
    traceparent text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    advanced_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    CONSTRAINT replay_ended_has_moment
        CHECK ((state IN ('done', 'stopped')) = (ended_at IS NOT NULL))
);
-- Of one group one replay runs at a time.
CREATE UNIQUE INDEX replay_running ON replay (fingerprint) WHERE ended_at IS NULL;

CREATE TABLE audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    reason text NOT NULL,
    correlation_id text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_of_target ON audit (target, id);

-- Each is made again at once, and lets more through.
-- squawk-ignore ban-drop-constraint
ALTER TABLE outbox DROP CONSTRAINT outbox_kind_check;
ALTER TABLE outbox ADD CONSTRAINT outbox_kind_check CHECK (kind IN ('task', 'event', 'replay'));
CREATE INDEX outbox_letter ON outbox (message_id) WHERE kind = 'replay';
DROP INDEX outbox_event_order;
CREATE INDEX outbox_event_order ON outbox (id) WHERE kind IN ('event', 'replay');

-- squawk-ignore ban-drop-constraint
ALTER TABLE attempt DROP CONSTRAINT attempt_outcome_check;
ALTER TABLE attempt ADD CONSTRAINT attempt_outcome_check
    CHECK (outcome IN ('running', 'succeeded', 'failed', 'lost', 'superseded', 'cancelled'));

GRANT SELECT, INSERT, UPDATE ON replay TO loom_service;
GRANT SELECT, INSERT ON audit TO loom_service;
-- The audit trail is written once: not even the service changes a line of it.
REVOKE UPDATE, DELETE ON audit FROM loom_service;
GRANT SELECT ON replay, audit TO loom_reader;
"""

DOWNGRADE = """
UPDATE attempt SET outcome = 'superseded' WHERE outcome = 'cancelled';
ALTER TABLE attempt DROP CONSTRAINT attempt_outcome_check;
ALTER TABLE attempt ADD CONSTRAINT attempt_outcome_check
    CHECK (outcome IN ('running', 'succeeded', 'failed', 'lost', 'superseded'));
DELETE FROM outbox WHERE kind = 'replay';
DROP INDEX outbox_event_order;
CREATE INDEX outbox_event_order ON outbox (id) WHERE kind = 'event';
DROP INDEX outbox_letter;
ALTER TABLE outbox DROP CONSTRAINT outbox_kind_check;
ALTER TABLE outbox ADD CONSTRAINT outbox_kind_check CHECK (kind IN ('task', 'event'));
DROP TABLE audit;
DROP TABLE replay;
ALTER TABLE dead_letter
    DROP COLUMN swept, DROP COLUMN sweep_tries, DROP COLUMN note, DROP COLUMN settled_by,
    DROP COLUMN settled_at, DROP COLUMN content_type, DROP COLUMN cut, DROP COLUMN size, DROP COLUMN state;
"""


def upgrade() -> None:
    """Add what people need to deal with dead letters."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Forget what became of dead letters, and the audit trail."""
    op.execute(DOWNGRADE)
