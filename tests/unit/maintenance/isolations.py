"""A stand-in for what knows the isolations."""


class NothingIsolated:
    """Knows of no isolation."""

    def remaining_seconds(self, scope: str) -> float:
        """Return 0."""
        del scope
        return 0.0

    def record(self, scope: str, *, failed: bool) -> None:
        """Count nothing."""

    def record_failure(self, scope: str, error: Exception) -> None:
        """Count nothing."""
