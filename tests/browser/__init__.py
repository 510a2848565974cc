"""Tests that drive pages in a real browser; `make test-browser`."""
