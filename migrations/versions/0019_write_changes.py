"""What a decision changes is written by a function, whose statements are planned once.

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
"""

DOWNGRADE = """
DROP FUNCTION write_changes(
    text[], jsonb, text[], jsonb, text[], jsonb, text[], jsonb, jsonb);
"""


def upgrade() -> None:
    """Add the function."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Take it away."""
    op.execute(DOWNGRADE)
