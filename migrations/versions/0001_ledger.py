"""The ledger: projects, beads, attempts, outbox, inbox, journal, dead letters and audit.

The roles loom_service (reads and writes rows) and loom_reader (reads rows) exist before.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "project", "bead", "attempt", "outbox", "inbox", "event", "dead_letter", "idempotency", "query_audit",
)  # fmt: skip

UPGRADE = """
CREATE TABLE project (
    id text PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    repository text NOT NULL,
    name text NOT NULL,
    default_branch text NOT NULL,
    test_command jsonb NOT NULL CHECK (jsonb_typeof(test_command) = 'array'),
    timeout_s bigint NOT NULL CHECK (timeout_s > 0),
    queue_window bigint NOT NULL CHECK (queue_window > 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE bead (
    id text PRIMARY KEY,
    project_id text NOT NULL REFERENCES project (id),
    title text NOT NULL,
    description text NOT NULL,
    context jsonb NOT NULL CHECK (jsonb_typeof(context) = 'object'),
    priority smallint NOT NULL CHECK (priority BETWEEN 0 AND 3),
    state text NOT NULL CHECK (state IN ('open', 'in_progress', 'blocked', 'closed')),
    resolution text CHECK (resolution IN ('succeeded', 'failed', 'cancelled')),
    reason text NOT NULL DEFAULT '',
    epoch bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    version bigint NOT NULL DEFAULT 1 CHECK (version >= 1),
    attempts bigint NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    forgiven bigint NOT NULL DEFAULT 0 CHECK (forgiven BETWEEN 0 AND attempts),
    dispatched_epoch bigint NOT NULL DEFAULT 0,
    commits jsonb NOT NULL DEFAULT '[]',
    correlation_id text NOT NULL,
    traceparent text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    closed_at timestamptz,
    CONSTRAINT bead_closed_is_resolved CHECK ((state = 'closed') = (resolution IS NOT NULL)),
    CONSTRAINT bead_closed_has_moment CHECK ((state = 'closed') = (closed_at IS NOT NULL)),
    CONSTRAINT bead_blocked_has_reason CHECK (state <> 'blocked' OR reason <> '')
);
-- Lists: of all, of a project, of a state; newest first.
CREATE INDEX bead_newest ON bead (created_at, id);
CREATE INDEX bead_newest_of_project ON bead (project_id, created_at, id);
CREATE INDEX bead_newest_in_state ON bead (state, created_at, id);
-- How many of a project's beads are on the broker and not yet claimed.
CREATE INDEX bead_on_broker ON bead (project_id) WHERE state = 'open' AND dispatched_epoch = epoch + 1;

CREATE TABLE attempt (
    bead_id text NOT NULL REFERENCES bead (id),
    epoch bigint NOT NULL CHECK (epoch >= 1),
    agent_id text NOT NULL,
    request_id text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('running', 'succeeded', 'failed', 'lost', 'superseded')),
    claimed_at timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,
    finished_at timestamptz,
    failure_class text CHECK (failure_class IN ('work', 'infra', 'timeout')),
    reason text NOT NULL DEFAULT '',
    output text NOT NULL DEFAULT '',
    steps jsonb NOT NULL DEFAULT '[]',
    commits jsonb NOT NULL DEFAULT '[]',
    artifacts jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (bead_id, epoch),
    CONSTRAINT attempt_running_is_unfinished CHECK ((outcome = 'running') = (finished_at IS NULL))
);
-- One attempt of a bead runs at a time; and those whose lease ran out are found.
CREATE UNIQUE INDEX attempt_running ON attempt (bead_id) WHERE outcome = 'running';
CREATE INDEX attempt_lease ON attempt (lease_until) WHERE outcome = 'running';

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('task', 'event')),
    type text NOT NULL,
    message_id text NOT NULL,
    project_id text NOT NULL,
    bead_id text NOT NULL,
    epoch bigint NOT NULL,
    attempt bigint NOT NULL DEFAULT 0,
    priority smallint NOT NULL DEFAULT 0,
    correlation_id text NOT NULL,
    traceparent text NOT NULL DEFAULT '',
    payload jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    available_at timestamptz NOT NULL,
    leased_by text,
    leased_until timestamptz,
    tries bigint NOT NULL DEFAULT 0,
    last_error text NOT NULL DEFAULT '',
    CONSTRAINT outbox_lease_is_whole CHECK ((leased_by IS NULL) = (leased_until IS NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.02, fillfactor = 80);
-- A bead is owed one task message an epoch; and the ledger's order within a project.
CREATE UNIQUE INDEX outbox_task ON outbox (bead_id, epoch) WHERE kind = 'task';
CREATE INDEX outbox_task_order ON outbox (project_id, priority, id) WHERE kind = 'task';
CREATE INDEX outbox_task_leased ON outbox (project_id, leased_until)
    WHERE kind = 'task' AND leased_until IS NOT NULL;
CREATE INDEX outbox_event_order ON outbox (id) WHERE kind = 'event';

CREATE TABLE inbox (
    message_id text PRIMARY KEY,
    source text NOT NULL,
    verdict text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX inbox_age ON inbox (received_at);

CREATE TABLE event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id text NOT NULL,
    type text NOT NULL,
    project_id text NOT NULL,
    bead_id text NOT NULL,
    epoch bigint NOT NULL,
    data jsonb NOT NULL,
    correlation_id text NOT NULL,
    traceparent text NOT NULL DEFAULT '',
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX event_of_bead ON event (bead_id, id);

CREATE TABLE dead_letter (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id text NOT NULL,
    queue text NOT NULL,
    project_id text NOT NULL,
    bead_id text NOT NULL,
    epoch bigint NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    correlation_id text NOT NULL,
    headers text NOT NULL,
    deaths text NOT NULL,
    body bytea NOT NULL,
    fingerprint text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT dead_letter_once UNIQUE (message_id, queue)
);
CREATE INDEX dead_letter_of_project ON dead_letter (project_id, id);

CREATE TABLE idempotency (
    key text PRIMARY KEY,
    fingerprint text NOT NULL,
    response bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX idempotency_age ON idempotency (created_at);

CREATE TABLE query_audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    caller text NOT NULL,
    sql text NOT NULL,
    parameters bigint NOT NULL,
    row_count bigint NOT NULL,
    duration_s double precision NOT NULL,
    error text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""


def upgrade() -> None:
    """Make the tables and say who may do what with them."""
    op.execute(UPGRADE)
    for table in TABLES:
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO loom_service")
        op.execute(f"GRANT SELECT ON {table} TO loom_reader")
    # The journal and the audit are written once: not even the service changes a line of them.
    op.execute("REVOKE UPDATE, DELETE ON event, query_audit FROM loom_service")
    op.execute("REVOKE ALL ON idempotency FROM loom_reader")
    op.execute("REVOKE ALL ON alembic_version FROM loom_service, loom_reader")
    op.execute("GRANT SELECT ON alembic_version TO loom_service, loom_reader")


def downgrade() -> None:
    """Drop the tables with all that is in them."""
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
