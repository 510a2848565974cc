"""Faults on purpose: which there are (`kinds`), when they hit (`schedule`), how they look on the wire (`wire`)."""
