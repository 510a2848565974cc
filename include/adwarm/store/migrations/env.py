"""Runs the migrations on the connection that `adwarm.store.migration_scripts` hands in."""

from alembic import context

from adwarm.store.migration_scripts import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes["metadata"],
    version_table=VERSION_TABLE,
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()
