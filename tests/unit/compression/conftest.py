"""Counts that start at zero."""

import pytest

from adwarm.compression import PROCESS_STATISTICS, CompressionStats


@pytest.fixture
def counted() -> CompressionStats:
    """The statistics of this process, at zero."""
    PROCESS_STATISTICS.take_counts()
    return PROCESS_STATISTICS
