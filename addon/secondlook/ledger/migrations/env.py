"""Run by Alembic: every migration in its own transaction, on the engine that it is given."""

from alembic import context

from secondlook.ledger.engine.tables import metadata

with context.config.attributes["engine"].connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
    context.run_migrations()
