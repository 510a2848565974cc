"""Builds the generated pages and blocks of docs/reference from the code."""
