"""The form of a strategy: its fields as texts, and the definition that these texts describe."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final
from zoneinfo import available_timezones

from adwarm.foundation.cron import describe_cron
from adwarm.model import Priority, Strategy
from adwarm.planning.strategy_preview import StrategyPreview
from adwarm.settings import Settings

LISTS: Final = ("date_ranges", "accounts", "excluded_accounts")
WHOLE_NUMBERS: Final = ("max_calls_per_hour", "batch_size", "max_parallel_batches", "open_hours")
SWITCHES: Final = ("enabled", "retire_unused", "opened_only")
TEXTS: Final = ("report", "priority", "cron", "time_zone")
CRON_EXAMPLES: Final = ("0 6 * * mon-fri", "30 7,13 * * *", "0 */6 * * *", "0 3 1 * *")


@dataclass(frozen=True, slots=True)
class StrategyForm:
    """What the form shows.

    Attributes:
        name: of the strategy.
        is_new: whether the form creates it.
        values: text by name of a field; of a switch `on` or empty.
        problems: by name of a field why it is not valid.
        message: why the fields do not go together; empty when they do.
        preview: the result of a dry run.
    """

    name: str
    is_new: bool
    values: Mapping[str, str]
    problems: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    preview: StrategyPreview | None = None

    def to_template(self, settings: Settings) -> dict[str, Any]:
        """Return the values of the template, with what the fields offer."""
        return {
            "form_data": self,
            "reports": sorted(settings.reports),
            "priorities": [priority.name.lower() for priority in Priority],
            "zones": list_zones(),
            "cron_examples": [(text, describe_cron(text)) for text in CRON_EXAMPLES],
            "cron_words": "" if "cron" in self.problems else describe_cron(self.values.get("cron", "")),
        }


@cache
def list_zones() -> tuple[str, ...]:
    """Return the names of the time zones, such as `Europe/Berlin`."""
    return ("UTC", *sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/")))


def write_values(stored: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of a definition as texts; a stored one may hold anything, also what is not valid."""
    values = {}
    for name in (*LISTS, *WHOLE_NUMBERS, "delay_seconds", *TEXTS):
        value = stored.get(name)
        values[name] = ", ".join(map(str, value)) if isinstance(value, list | tuple) else _write(value)
    return values | {name: "on" if stored.get(name) else "" for name in SWITCHES}


def write_new() -> dict[str, str]:
    """Return the defaults of a new strategy as texts; the date ranges are left to the user."""
    default = Strategy("new", ("yesterday",))
    return {**write_values({name: getattr(default, name) for name in Strategy.__slots__}), "date_ranges": ""}


def read_definition(fields: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the definition that the fields of a POST describe, and by name of a field why it cannot be read."""
    problems: dict[str, str] = {}
    values: dict[str, Any] = {name: _split(fields.get(name, "")) for name in LISTS}
    values["accounts"] = values["accounts"] or None
    for name in (*WHOLE_NUMBERS, "delay_seconds"):
        text = fields.get(name, "").replace(",", "")
        try:
            values[name] = float(text) if name == "delay_seconds" else int(text)
        except ValueError:
            problems[name] = "write a number" if name == "delay_seconds" else "write a whole number"
    values |= {name: fields.get(name, "") for name in TEXTS}
    return values | {name: fields.get(name) == "on" for name in SWITCHES}, problems


def _split(text: str) -> list[str]:
    """Return the values of a field, which commas or line ends separate."""
    return [part.strip() for line in text.splitlines() for part in line.split(",") if part.strip()]


def _write(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)
