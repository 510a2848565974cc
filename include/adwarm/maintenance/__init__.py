"""Maintains the store: compaction, garbage collection, integrity checks, recompression, retention."""
