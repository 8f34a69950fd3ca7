"""People, sessions, tokens; and every line of the audit trail carries a hash over the one before.

Outside of their own columns the three tables hold hashes of secrets, which the role of queries does
not get to see.
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

UPGRADE = """
CREATE TABLE person (
    name text PRIMARY KEY,
    role text CHECK (role IN ('viewer', 'operator', 'admin')),
    projects jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(projects) = 'object'),
    password_hash text NOT NULL DEFAULT '',
    subject text NOT NULL DEFAULT '',
    disabled boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_login_at timestamptz
);
CREATE UNIQUE INDEX person_of_subject ON person (subject) WHERE subject <> '';

CREATE TABLE session (
    id text PRIMARY KEY,
    person text NOT NULL REFERENCES person (name),
    digest text NOT NULL UNIQUE CHECK (digest ~ '^[0-9a-f]{64}$'),
    method text NOT NULL CHECK (method IN ('password', 'oidc')),
    address text NOT NULL,
    agent text NOT NULL,
    idle_s double precision NOT NULL CHECK (idle_s > 0),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz
);
CREATE INDEX session_of_person ON session (person) WHERE ended_at IS NULL;

CREATE TABLE access_token (
    id text PRIMARY KEY,
    name text NOT NULL,
    digest text NOT NULL UNIQUE CHECK (digest ~ '^[0-9a-f]{64}$'),
    role text CHECK (role IN ('viewer', 'operator', 'admin')),
    projects jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(projects) = 'object'),
    made_by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz
);
GRANT SELECT, INSERT, UPDATE, DELETE ON person, session, access_token TO loom_service;
REVOKE ALL ON person, session, access_token FROM loom_reader;
GRANT SELECT (name, role, projects, subject, disabled, created_at, last_login_at)
    ON person TO loom_reader;
GRANT SELECT (id, person, method, address, agent, created_at, expires_at, last_seen_at, ended_at)
    ON session TO loom_reader;
GRANT SELECT (id, name, role, projects, made_by, created_at, expires_at, last_used_at, revoked_at)
    ON access_token TO loom_reader;

-- A line takes its place in the chain when its transaction commits, so that the newest place is
-- locked for no longer than that, and after everything else.
CREATE TABLE audit_chain (
    place bigint PRIMARY KEY CHECK (place >= 1),
    audit_id bigint NOT NULL UNIQUE,
    previous text NOT NULL,
    hash text NOT NULL
);
CREATE TABLE audit_head (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    place bigint NOT NULL,
    hash text NOT NULL
);
-- What loom/domain/auditchain.py computes again.
CREATE FUNCTION audit_content(place bigint, line audit) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, public AS $$
    SELECT jsonb_build_object(
        'place', place, 'id', line.id,
        'at', to_char(line.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'actor', line.actor, 'action', line.action, 'target', line.target,
        'reason', line.reason, 'correlation_id', line.correlation_id, 'detail', line.detail
    )::text
$$;
CREATE FUNCTION audit_link(line audit) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE
    last record;
    next_hash text;
BEGIN
    INSERT INTO public.audit_head AS h (place, hash) VALUES (0, '')
        ON CONFLICT (one) DO UPDATE SET place = h.place
        RETURNING h.place, h.hash INTO last;
    next_hash := encode(sha256(convert_to(
        last.hash || E'\\n' || public.audit_content(last.place + 1, line), 'UTF8')), 'hex');
    INSERT INTO public.audit_chain (place, audit_id, previous, hash)
        VALUES (last.place + 1, line.id, last.hash, next_hash);
    UPDATE public.audit_head SET place = last.place + 1, hash = next_hash;
END
$$;
CREATE FUNCTION audit_linked() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
    PERFORM public.audit_link(NEW);
    RETURN NULL;
END
$$;
DO $$
DECLARE
    line public.audit;
BEGIN
    FOR line IN SELECT * FROM public.audit ORDER BY id LOOP
        PERFORM public.audit_link(line);
    END LOOP;
END
$$;
CREATE CONSTRAINT TRIGGER audit_is_chained AFTER INSERT ON audit
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION audit_linked();
REVOKE ALL ON FUNCTION audit_link(audit), audit_linked() FROM PUBLIC, loom_service;
REVOKE ALL ON audit_chain, audit_head FROM loom_service;
GRANT SELECT ON audit_chain, audit_head TO loom_service, loom_reader;
"""

DOWNGRADE = """
DROP TRIGGER audit_is_chained ON audit;
DROP FUNCTION audit_linked();
DROP FUNCTION audit_link(audit);
DROP FUNCTION audit_content(bigint, audit);
DROP TABLE audit_head;
DROP TABLE audit_chain;
DROP TABLE access_token;
DROP TABLE session;
DROP TABLE person;
"""


def upgrade() -> None:
    """Make the tables; the lines that are there take their places in the chain."""
    op.execute(UPGRADE)


def downgrade() -> None:
    """Forget people, sessions, tokens and the chain; the lines stay."""
    op.execute(DOWNGRADE)
