"""Turns access events into mergeable slots, and slots into profiles of when reports are opened."""

from adwarm.patterns.ingest import IngestReport, ingest
from adwarm.patterns.load import QUIET, first_opens, load_slots
from adwarm.patterns.profile import AccessProfile, hour_of_week, profile
from adwarm.patterns.slots import SLOT_SCHEMA, SlotAggregator

__all__ = [
    "QUIET",
    "SLOT_SCHEMA",
    "AccessProfile",
    "IngestReport",
    "SlotAggregator",
    "first_opens",
    "hour_of_week",
    "ingest",
    "load_slots",
    "profile",
]
