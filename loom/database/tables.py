"""The ledger's tables, as the migrations make them; a test holds the two equal."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Identity,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData()

NOW = text("clock_timestamp()")
XID = text("CAST(CAST(pg_current_xact_id() AS text) AS bigint)")


def _moment(name: str) -> Column[datetime]:
    return Column(name, DateTime(timezone=True))


project = Table(
    "project",
    metadata,
    Column("id", Text, primary_key=True),
    Column("repository", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("default_branch", Text, nullable=False),
    Column("test_command", JSONB, nullable=False),
    Column("timeout_s", BigInteger, nullable=False),
    Column("queue_window", BigInteger, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    Column("state", Text, nullable=False),
    Column("weight", BigInteger, nullable=False),
    Column("max_in_progress", BigInteger, nullable=False),
    Column("max_attempts", BigInteger, nullable=False),
    Column("soft_timeout_s", BigInteger, nullable=False),
    Column("rules", JSONB, nullable=False),
    Column("started", Double, nullable=False),
    Column("finished", Double, nullable=False),
    Column("version", BigInteger, nullable=False, server_default="1"),
)

bead = Table(
    "bead",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("context", JSONB, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("state", Text, nullable=False),
    _moment("closed_at"),
    Column("resolution", Text),
    Column("reason", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("forgiven", BigInteger, nullable=False),
    Column("dispatched_epoch", BigInteger, nullable=False),
    _moment("dispatched_at"),
    Column("commits", JSONB, nullable=False),
    Column("correlation_id", Text, nullable=False),
    Column("traceparent", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    _moment("not_before"),
    Column("blocked_by", ARRAY(Text), nullable=False),
    Column("parent", Text, nullable=False),
    Column("max_attempts", BigInteger, nullable=False),
    Column("gated", Boolean, nullable=False),
    Column("assignee", Text, nullable=False, server_default=""),
)

bead_search = Table(
    "bead_search",
    metadata,
    Column("bead_id", Text, primary_key=True),
    Column("words", Text, nullable=False),
)

attempt = Table(
    "attempt",
    metadata,
    Column("bead_id", Text, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("agent_id", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("claimed_at", DateTime(timezone=True), nullable=False),
    Column("lease_until", DateTime(timezone=True), nullable=False),
    _moment("finished_at"),
    Column("failure_class", Text),
    Column("reason", Text, nullable=False),
    Column("output", Text, nullable=False),
    Column("steps", JSONB, nullable=False),
    Column("commits", JSONB, nullable=False),
    Column("artifacts", JSONB, nullable=False),
    Column("notes", Text, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("project_id", Text, nullable=False),
    Column("bead_id", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("attempt", BigInteger, nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("correlation_id", Text, nullable=False),
    Column("traceparent", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    Column("available_at", DateTime(timezone=True), nullable=False),
    Column("leased_by", Text),
    _moment("leased_until"),
    Column("tries", BigInteger, nullable=False),
    Column("last_error", Text, nullable=False),
    Column("rank", DateTime(timezone=True), nullable=False),
    Column("gated", Boolean, nullable=False),
)

inbox = Table(
    "inbox",
    metadata,
    Column("message_id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False, server_default=NOW),
)

event = Table(
    "event",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("message_id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("project_id", Text, nullable=False),
    Column("bead_id", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("data", JSONB, nullable=False),
    Column("correlation_id", Text, nullable=False),
    Column("traceparent", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=NOW),
    Column("era", BigInteger, nullable=False, server_default=text("event_era()")),
    Column("xid", BigInteger, nullable=False, server_default=XID),
)

dead_letter = Table(
    "dead_letter",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("message_id", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("project_id", Text, nullable=False),
    Column("bead_id", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("correlation_id", Text, nullable=False),
    Column("headers", Text, nullable=False),
    Column("deaths", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    Column("state", Text, nullable=False, server_default="open"),
    Column("size", BigInteger, nullable=False),
    Column("cut", Boolean, nullable=False),
    Column("content_type", Text, nullable=False),
    _moment("settled_at"),
    Column("settled_by", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("sweep_tries", BigInteger, nullable=False),
    Column("swept", Boolean, nullable=False),
)

replay = Table(
    "replay",
    metadata,
    Column("id", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("rate_per_s", Double, nullable=False),
    Column("canary_letter", BigInteger),
    Column("canary_message_id", Text, nullable=False),
    _moment("canary_quiet_since"),
    Column("place", BigInteger, nullable=False),
    Column("last_letter", BigInteger, nullable=False),
    Column("replayed", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("why", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("correlation_id", Text, nullable=False),
    Column("traceparent", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    Column("advanced_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    _moment("ended_at"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=NOW),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("correlation_id", Text, nullable=False),
    Column("detail", JSONB, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", Text, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=NOW),
)

query_audit = Table(
    "query_audit",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("caller", Text, nullable=False),
    Column("sql", Text, nullable=False),
    Column("parameters", BigInteger, nullable=False),
    Column("row_count", BigInteger, nullable=False),
    Column("duration_s", Double, nullable=False),
    Column("error", Text, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=NOW),
)

log_chunk = Table(
    "log_chunk",
    metadata,
    Column("bead_id", Text, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("first", BigInteger, nullable=False),
    Column("lines", JSONB, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False, server_default=NOW),
)

comment = Table(
    "comment",
    metadata,
    Column("id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("bead_id", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    _moment("edited_at"),
    _moment("deleted_at"),
    Column("source", Text, nullable=False),
    Column("mark", Text, nullable=False),
)

origin = Table(
    "origin",
    metadata,
    Column("bead_id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("record", JSONB, nullable=False),
    Column("pending", ARRAY(Text), nullable=False),
    Column("imported_at", DateTime(timezone=True), nullable=False, server_default=NOW),
)

attempt_log = Table(
    "attempt_log",
    metadata,
    Column("bead_id", Text, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("chunks", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
)

agent = Table(
    "agent",
    metadata,
    Column("name", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("instance", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("versions", JSONB, nullable=False),
    Column("tools", JSONB, nullable=False),
    Column("concurrency", BigInteger, nullable=False),
    Column("running", JSONB, nullable=False),
    Column("consuming", Boolean, nullable=False),
    Column("load", Double, nullable=False),
    Column("disk_free", BigInteger, nullable=False),
    Column("wish", Text, nullable=False, server_default="work"),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("last_seen", DateTime(timezone=True), nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    _moment("ended_at"),
    Column("lost", Boolean, nullable=False),
)

person = Table(
    "person",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text),
    Column("projects", JSONB, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    _moment("last_login_at"),
)

session = Table(
    "session",
    metadata,
    Column("id", Text, primary_key=True),
    Column("person", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("idle_s", Double, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("last_seen_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    _moment("ended_at"),
)

access_token = Table(
    "access_token",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("role", Text),
    Column("projects", JSONB, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    _moment("expires_at"),
    _moment("last_used_at"),
    _moment("revoked_at"),
)

audit_chain = Table(
    "audit_chain",
    metadata,
    Column("place", BigInteger, primary_key=True),
    Column("audit_id", BigInteger, nullable=False),
    Column("previous", Text, nullable=False),
    Column("hash", Text, nullable=False),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("one", Boolean, primary_key=True),
    Column("place", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
)

webhook = Table(
    "webhook",
    metadata,
    Column("id", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("project_id", Text, nullable=False),
    Column("types", ARRAY(Text), nullable=False),
    Column("secret", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("failures", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    _moment("resting_until"),
    _moment("last_ok_at"),
)

webhook_delivery = Table(
    "webhook_delivery",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("webhook_id", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("event_id", BigInteger),
    Column("type", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="pending"),
    Column("tries", BigInteger, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    Column("due_at", DateTime(timezone=True), nullable=False, server_default=NOW),
    Column("leased_by", Text),
    _moment("leased_until"),
    Column("status", BigInteger, nullable=False),
    Column("error", Text, nullable=False),
    Column("response", Text, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    _moment("tried_at"),
    _moment("ended_at"),
)

webhook_feed = Table(
    "webhook_feed",
    metadata,
    Column("one", Boolean, primary_key=True),
    Column("era", BigInteger, nullable=False),
    Column("xid", BigInteger, nullable=False),
    Column("id", BigInteger, nullable=False),
)
