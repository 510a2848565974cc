"""Keeps the store healthy: compaction, garbage collection, integrity checks, recompression."""
