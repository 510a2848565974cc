"""Runs the commands and programs of the documentation as they stand: `make test-docs`."""
