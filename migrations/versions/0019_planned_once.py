"""Beads are filed, and what a decision changes is written, by functions that are planned once.

PgBouncer pools transactions, so the service prepares no statement, and PostgreSQL planned these
anew each time: two thirds of its work on a claim or a result.
"""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# In an order that matters: of a bead only one attempt may run, and of its epoch only one message
# may be owed. The lists of ids say how many rows there are, as a plan made for any JSON cannot
# know. A plan that was made while tables were small would go on reading them whole.
UPGRADE = """
CREATE FUNCTION write_changes(
    p_withdrawn text[], p_ended jsonb, p_ended_ids text[], p_moved jsonb, p_moved_ids text[],
    p_started jsonb, p_recalled text[], p_owed jsonb, p_events jsonb)
RETURNS TABLE (id text, version bigint, updated_at timestamptz)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
BEGIN
    IF p_withdrawn IS NOT NULL THEN
        DELETE FROM outbox o WHERE o.kind = 'task' AND o.bead_id = ANY(p_withdrawn);
    END IF;
    IF p_ended IS NOT NULL THEN
        UPDATE attempt a
           SET outcome = r.outcome, finished_at = clock_timestamp(),
               failure_class = r.failure_class, reason = r.reason, output = r.output,
               steps = r.steps, commits = r.commits, artifacts = r.artifacts, notes = r.notes
          FROM jsonb_to_recordset(p_ended) AS r (
               bead_id text, epoch bigint, outcome text, failure_class text, reason text,
               output text, steps jsonb, commits jsonb, artifacts jsonb, notes text)
         WHERE a.bead_id = r.bead_id AND a.epoch = r.epoch AND a.outcome = 'running'
           AND a.bead_id = ANY(p_ended_ids);
    END IF;
    IF p_moved IS NOT NULL THEN
        RETURN QUERY
        UPDATE bead b
           SET state = r.state, resolution = r.resolution, reason = r.reason, epoch = r.epoch,
               attempts = r.attempts, forgiven = r.forgiven, version = b.version + 1,
               commits = coalesce(r.commits, b.commits),
               title = coalesce(r.title, b.title),
               description = coalesce(r.description, b.description),
               context = coalesce(r.context, b.context),
               priority = coalesce(r.priority, b.priority),
               dispatched_epoch = CASE WHEN r.state = 'blocked' THEN 0
                                       ELSE b.dispatched_epoch END,
               updated_at = clock_timestamp(),
               closed_at = CASE WHEN r.state = 'closed' THEN clock_timestamp() END
          FROM jsonb_to_recordset(p_moved) AS r (
               id text, state text, resolution text, reason text, epoch bigint, attempts bigint,
               forgiven bigint, commits jsonb, title text, description text, context jsonb,
               priority smallint)
         WHERE b.id = r.id AND b.id = ANY(p_moved_ids)
        RETURNING b.id, b.version, b.updated_at;
    END IF;
    IF p_started IS NOT NULL THEN
        INSERT INTO attempt (bead_id, epoch, agent_id, request_id, outcome, claimed_at,
                             lease_until)
        SELECT r.bead_id, r.epoch, r.agent_id, r.request_id, 'running', t.now,
               t.now + r.lease_s * interval '1 second'
          FROM jsonb_to_recordset(p_started) AS r (
               bead_id text, epoch bigint, agent_id text, request_id text,
               lease_s double precision),
               (SELECT clock_timestamp() AS now) AS t;
    END IF;
    IF p_recalled IS NOT NULL THEN
        UPDATE bead b SET dispatched_epoch = 0 WHERE b.id = ANY(p_recalled);
    END IF;
    IF p_owed IS NOT NULL THEN
        INSERT INTO outbox (kind, type, message_id, project_id, bead_id, epoch, attempt, priority,
                            correlation_id, traceparent, available_at, rank, gated)
        SELECT 'task', 'task.assigned', r.message_id, r.project_id, r.bead_id, r.epoch, r.attempt,
               r.priority, r.correlation_id, r.traceparent,
               greatest(clock_timestamp() + r.delay_s * interval '1 second', r.since),
               r.rank, r.gated
          FROM jsonb_to_recordset(p_owed) AS r (
               ord int, message_id text, project_id text, bead_id text, epoch bigint,
               attempt bigint, priority smallint, correlation_id text, traceparent text,
               delay_s double precision, since timestamptz, rank timestamptz, gated boolean)
         ORDER BY r.ord;
    END IF;
    IF p_events IS NOT NULL THEN
        WITH told AS MATERIALIZED (
            SELECT * FROM jsonb_to_recordset(p_events) AS r (
                   ord int, message_id text, type text, project_id text, bead_id text,
                   epoch bigint, data jsonb, correlation_id text, traceparent text)
        ), journal AS (
            INSERT INTO event (message_id, type, project_id, bead_id, epoch, data, correlation_id,
                               traceparent)
            SELECT t.message_id, t.type, t.project_id, t.bead_id, t.epoch, t.data,
                   t.correlation_id, t.traceparent
              FROM told t ORDER BY t.ord
        )
        INSERT INTO outbox (kind, type, message_id, project_id, bead_id, epoch, correlation_id,
                            traceparent, payload, available_at)
        SELECT 'event', t.type, t.message_id, t.project_id, t.bead_id, t.epoch, t.correlation_id,
               t.traceparent, t.data, clock_timestamp()
          FROM told t ORDER BY t.ord;
    END IF;
END
$$;

-- A microsecond apart, so that a list has the beads of one request in the order of the request.
CREATE FUNCTION file_beads(
    p_project_id text, p_beads jsonb, p_correlation_id text, p_traceparent text,
    p_ageing_s double precision)
RETURNS TABLE (id text, created_at timestamptz)
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
BEGIN
    IF EXISTS (SELECT FROM project p WHERE p.id = p_project_id AND p.state = 'closed') THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT r.*, now() + r.ord * interval '1 microsecond' AS created_at
          FROM jsonb_to_recordset(p_beads) AS r (
               ord int, id text, title text, description text, context jsonb, priority smallint,
               task_id text, event_id text, not_before timestamptz, blocked_by text[],
               parent text, max_attempts bigint, gated boolean)
    ), filed AS (
        INSERT INTO bead (id, project_id, title, description, context, priority, state,
                          correlation_id, traceparent, created_at, updated_at, not_before,
                          blocked_by, parent, max_attempts, gated)
        SELECT a.id, p_project_id, a.title, a.description, a.context, a.priority, 'open',
               p_correlation_id, p_traceparent, a.created_at, a.created_at, a.not_before,
               a.blocked_by, a.parent, a.max_attempts, a.gated
          FROM asked a ORDER BY a.ord
        RETURNING bead.id, bead.created_at
    ), owed AS (
        INSERT INTO outbox (kind, type, message_id, project_id, bead_id, epoch, attempt, priority,
                            correlation_id, traceparent, available_at, rank, gated)
        SELECT 'task', 'task.assigned', a.task_id, p_project_id, a.id, 1, 1, a.priority,
               p_correlation_id, p_traceparent, greatest(now(), a.not_before),
               greatest(a.created_at, a.not_before)
                   + a.priority * p_ageing_s * interval '1 second',
               a.gated
          FROM asked a ORDER BY a.ord
    ), journal AS (
        INSERT INTO event (message_id, type, project_id, bead_id, epoch, data, correlation_id,
                           traceparent)
        SELECT a.event_id, 'bead.created', p_project_id, a.id, 0,
               jsonb_build_object('title', a.title, 'priority', a.priority, 'state', 'open'),
               p_correlation_id, p_traceparent
          FROM asked a ORDER BY a.ord
        RETURNING event.message_id, event.bead_id, event.data
    ), told AS (
        INSERT INTO outbox (kind, type, message_id, project_id, bead_id, epoch, correlation_id,
                            traceparent, payload, available_at)
        SELECT 'event', 'bead.created', j.message_id, p_project_id, j.bead_id, 0,
               p_correlation_id, p_traceparent, j.data, now()
          FROM journal j
    )
    SELECT f.id, f.created_at FROM filed f;
END
$$;
"""

DOWNGRADE = """
DROP FUNCTION file_beads(text, jsonb, text, text, double precision);
DROP FUNCTION write_changes(
    text[], jsonb, text[], jsonb, text[], jsonb, text[], jsonb, jsonb);
"""


def upgrade() -> None:
    """Add the functions."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take them away."""
    op.execute(DOWNGRADE)
