"""Counts that start at zero."""

import pytest

from adwarm.compression import PROCESS_STATISTICS, CompressionStats, Document

from .documents import DAILY, SUMMARY, make_document


@pytest.fixture
def counted() -> CompressionStats:
    """The statistics of this process, at zero."""
    PROCESS_STATISTICS.take_counts()
    return PROCESS_STATISTICS


@pytest.fixture
def document() -> Document:
    """A week with a summary, three daily rows, and actions."""
    return make_document(DAILY, SUMMARY)
