"""Webhooks, and the deliveries that are owed to them."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE webhook (
    id text PRIMARY KEY,
    url text NOT NULL,
    project_id text NOT NULL,
    types text[] NOT NULL,
    secret text NOT NULL,
    active boolean NOT NULL DEFAULT true,
    reason text NOT NULL DEFAULT '',
    failures bigint NOT NULL DEFAULT 0,
    created_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    resting_until timestamptz,
    last_ok_at timestamptz
);

CREATE TABLE webhook_delivery (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook_id text NOT NULL REFERENCES webhook (id) ON DELETE CASCADE,
    message_id text NOT NULL,
    -- Of a ping there is none.
    event_id bigint,
    type text NOT NULL,
    state text NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'delivered', 'dead', 'discarded')),
    tries bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    leased_by text,
    leased_until timestamptz,
    status bigint NOT NULL DEFAULT 0,
    error text NOT NULL DEFAULT '',
    response text NOT NULL DEFAULT '',
    duration_ms bigint NOT NULL DEFAULT 0,
    tried_at timestamptz,
    ended_at timestamptz,
    CONSTRAINT webhook_delivery_once UNIQUE (webhook_id, message_id),
    CONSTRAINT webhook_delivery_ended CHECK ((state = 'pending') = (ended_at IS NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.02, fillfactor = 80);
CREATE INDEX webhook_delivery_due ON webhook_delivery (webhook_id, due_at, id)
    WHERE state = 'pending';
CREATE INDEX webhook_delivery_newest ON webhook_delivery (webhook_id, id);
CREATE INDEX webhook_delivery_age ON webhook_delivery (ended_at) WHERE state <> 'pending';

-- Up to where in the journal events were given out to those who want them.
CREATE TABLE webhook_feed (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    era bigint NOT NULL,
    xid bigint NOT NULL,
    id bigint NOT NULL
);
INSERT INTO webhook_feed (era, xid, id) VALUES (0, 0, 0);

GRANT SELECT, INSERT, UPDATE, DELETE ON webhook, webhook_delivery TO loom_service;
GRANT SELECT, UPDATE ON webhook_feed TO loom_service;
GRANT SELECT ON webhook_delivery, webhook_feed TO loom_reader;
-- All but the secret.
GRANT SELECT (id, url, project_id, types, active, reason, failures, created_by, created_at,
              updated_at, resting_until, last_ok_at) ON webhook TO loom_reader;
"""

DOWNGRADE = """
DROP TABLE webhook_feed;
DROP TABLE webhook_delivery;
DROP TABLE webhook;
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Drop them, with what is still owed."""
    op.execute(DOWNGRADE)
