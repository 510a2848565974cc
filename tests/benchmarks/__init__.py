"""Benchmarks: each compares with a peer in the same run, prints a table and writes `.adwarm/bench/<name>.json`."""
