"""What alembic runs: the migrations of migrations/versions, on the connection it is given."""

from __future__ import annotations

from alembic import context

from loom.database import tables

connection = context.config.attributes.get("connection")
if connection is None:
    # `alembic upgrade --sql`: print, and touch no database.
    context.configure(
        dialect_name="postgresql", target_metadata=tables.metadata, literal_binds=True
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    context.configure(connection=connection, target_metadata=tables.metadata)
    with context.begin_transaction():
        context.run_migrations()
