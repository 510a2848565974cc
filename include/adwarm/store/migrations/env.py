"""Runs the migrations on the connection that `adwarm.store.migration_scripts` hands in, or writes them as SQL."""

from alembic import context

from adwarm.store.migration_scripts import VERSION_TABLE

if context.is_offline_mode():
    context.configure(
        dialect_name="postgresql",
        target_metadata=context.config.attributes["metadata"],
        version_table=VERSION_TABLE,
        literal_binds=True,
    )
else:
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=context.config.attributes["metadata"],
        version_table=VERSION_TABLE,
        render_as_batch=True,
        compare_type=True,
    )
context.run_migrations()
