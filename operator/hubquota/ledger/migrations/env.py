"""What Alembic runs: the migrations over the connection that it was given, in the transaction of that connection."""

from alembic import context

from hubquota.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters most things only by copying the table
)
with context.begin_transaction():
    context.run_migrations()
