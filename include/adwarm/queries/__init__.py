"""Queries over several tables: page, command line and read API call the same. Those over one table stand beside it."""
