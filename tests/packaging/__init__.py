"""The wheel in environments of its own; `make test-wheel` and `make test-matrix`."""
