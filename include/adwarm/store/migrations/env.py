"""Runs the migrations on the connection that `adwarm.store.upgrades` hands in."""

from alembic import context

from adwarm.store.upgrades import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE, render_as_batch=True)
context.run_migrations()
