"""Reads the access log into aggregates: plan the splits, read each, commit the hours."""
