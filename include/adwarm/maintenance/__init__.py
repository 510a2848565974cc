"""Maintains the store: compaction, garbage collection, integrity checks, compression, retention."""
