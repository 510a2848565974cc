"""Asks whose clock the times are of, where they do not say it, with the peak hour that each answer gives."""

from collections import Counter

import numpy as np

from adwarm.access_log.nested_values import find_source
from adwarm.access_log.sample_rows import read_sample
from adwarm.access_log.timestamps import INVALID, TimestampRules, find_local, from_micros, parse_values, to_utc
from adwarm.log_check.check import LogCheck
from adwarm.settings import Settings

_EXAMPLE = "Europe/Berlin"
_SETTING = "ADWARM_ACCESS_LOG__TIMESTAMP_ZONE"


def ask_about_clock(check: LogCheck, settings: Settings) -> str | None:
    """Return the question; None where the times name their zone or the settings do."""
    item = next((item for item in check.files if item.accepted and "ts" in item.columns.by_field), None)
    if item is None or item.file.format == "combined" or settings.access_log.timestamp_zone is not None:
        return None
    rows = read_sample(item.file)
    names = dict.fromkeys(name for row in rows for name in row)
    source = find_source(item.columns.by_field["ts"], names)
    if source is None:
        return None
    values = source.read([[row.get(column) for row in rows] for column, _ in source.parts])
    micros = parse_values(values, TimestampRules("UTC", settings.access_log.timestamp_format))
    micros = micros[find_local(values) & (micros != INVALID)]
    if len(micros) * 2 < len(values) or not len(micros):
        return None
    ((written, _),) = Counter(from_micros(moment).hour for moment in micros.tolist()).most_common(1)
    zones = [name for name, _ in check.zones.most_common() if name]
    zone = zones[0] if zones else settings.default_zone if settings.default_zone != "UTC" else _EXAMPLE
    day = micros[:1] // (24 * 3_600_000_000) * (24 * 3_600_000_000) + written * 3_600_000_000
    shift = int(np.round((day - to_utc(day, TimestampRules(zone)))[0] / 3_600_000_000))
    if "time_zone" in item.columns.by_field and zones:
        return (
            f"the times name no zone, and each is read in the zone of its row: most opens are at {written:02d}:00 "
            f"there; if they are UTC, set {_SETTING}=UTC, and most are at {(written + shift) % 24:02d}:00 in {zone}"
        )
    return (
        f"the times name no zone and are read as UTC: most opens are at {written:02d}:00 UTC; if that is what the "
        f"clocks of your readers show, set {_SETTING} to their zone, such as {zone}, and most are at "
        f"{(written - shift) % 24:02d}:00 UTC"
    )
