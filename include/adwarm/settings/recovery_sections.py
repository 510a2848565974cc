"""The sections of the settings about errors and upkeep: recovery, alerts, retention and maintenance."""

import re
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from adwarm.foundation import errors
from adwarm.foundation.errors import AdwarmError
from adwarm.settings.sections import Section

FallbackKind = Literal["cache", "entry", "partitions", "window", "source", "upstream", "none"]
HealingAction = Literal["token_refresh", "session_restart", "partition_refetch", "cache_clear", "custom"]
ANY_ERROR = "any"
_STANDARD_ERRORS = ("ConnectionError", "TimeoutError", "OSError")
_DOTTED = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def _list_error_names() -> frozenset[str]:
    classes = (item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, AdwarmError))
    return frozenset({ANY_ERROR, *_STANDARD_ERRORS, *(item.__name__ for item in classes)})


ERROR_NAMES = _list_error_names()
"""Names of errors that settings may use: the classes of `adwarm.foundation.errors`, some of Python's, and `any`."""


def check_error_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return `names`.

    Raises:
        ValueError: one of them is not a name of an error.
    """
    for name in names:
        if name not in ERROR_NAMES:
            raise ValueError(f"{name!r} is not a class of errors; the classes are {', '.join(sorted(ERROR_NAMES))}")
    return names


def check_dotted_path(path: str | None) -> str | None:
    """Return `path`.

    Raises:
        ValueError: it does not have the form `package.module:name`.
    """
    if path is not None and not _DOTTED.fullmatch(path):
        raise ValueError(f"{path!r} is not a dotted path; write package.module:name")
    return path


class FallbackSettings(Section):
    """One step of the fallback chain."""

    kind: FallbackKind = Field(
        description="`cache`: decoded reports of this process; `entry`: the stored entry; `partitions`: assembled from "
        "stored days; `window`: an older or smaller date range; `source`: another connection; `upstream`: a fetch; "
        "`none`: nothing, the reader gets the error."
    )
    timeout_seconds: float = Field(1.0, gt=0, le=600, description="How long the step may take.")
    max_age_hours: float | None = Field(None, gt=0, description="Older data is not served by this step; unset: any.")
    errors: tuple[str, ...] = Field(
        (ANY_ERROR,), description="Classes of errors after which the step is used; `any` also before there is one."
    )
    connection: str | None = Field(None, description="`source`: name of the connection in `ADWARM_CONNECTIONS`.")

    @field_validator("errors")
    @classmethod
    def _errors_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return check_error_names(names)

    @model_validator(mode="after")
    def _source_names_a_connection(self) -> "FallbackSettings":
        if (self.kind == "source") != (self.connection is not None):
            raise ValueError("`connection` belongs to the kind `source`, and only to it")
        return self

    @property
    def name(self) -> str:
        """Its name in results: the kind, and `source:NAME` for a connection."""
        return self.kind if self.connection is None else f"source:{self.connection}"

    @property
    def max_age_seconds(self) -> float | None:
        """The largest age of the data that it answers with; None for any."""
        return None if self.max_age_hours is None else self.max_age_hours * 3_600.0


class HealerSettings(Section):
    """An action that may fix the cause of some errors."""

    action: HealingAction = Field(
        description="`token_refresh`: read the connection again; `session_restart`: a new HTTP session; "
        "`partition_refetch`: delete damaged days, so that they are fetched again; `cache_clear`: clear caches; "
        "`custom`: call a function."
    )
    errors: tuple[str, ...] = Field((ANY_ERROR,), description="Classes of errors that the action may fix.")
    pattern: str | None = Field(
        None, description="Regular expression that code or message of the error must contain; unset: any."
    )
    cooldown_seconds: float = Field(
        60.0, ge=0, le=30 * 86_400, description="Shortest time between two runs for the same thing, over all workers."
    )
    scope: Literal["key", "account", "all"] = Field("key", description="`cache_clear`: what is cleared.")
    call: str | None = Field(None, description="`custom`: the function, as `package.module:function`.")

    @field_validator("errors")
    @classmethod
    def _errors_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return check_error_names(names)

    @field_validator("pattern")
    @classmethod
    def _pattern_compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern

    @field_validator("call")
    @classmethod
    def _call_is_a_path(cls, path: str | None) -> str | None:
        return check_dotted_path(path)

    @model_validator(mode="after")
    def _custom_names_a_function(self) -> "HealerSettings":
        if (self.action == "custom") != (self.call is not None):
            raise ValueError("`call` belongs to the action `custom`, and only to it")
        return self


DEFAULT_FALLBACKS = (
    FallbackSettings(kind="cache", timeout_seconds=0.05),
    FallbackSettings(kind="entry", timeout_seconds=1.0, max_age_hours=14 * 24),
    FallbackSettings(kind="partitions", timeout_seconds=1.0, max_age_hours=14 * 24),
    FallbackSettings(kind="upstream", timeout_seconds=30.0),
    FallbackSettings(kind="window", timeout_seconds=1.0, max_age_hours=14 * 24),
    FallbackSettings(kind="none", timeout_seconds=1.0),
)
"""An older date range is not a substitute while the requested one can be fetched, so `window` follows `upstream`."""

DEFAULT_HEALERS = (
    HealerSettings(action="token_refresh", errors=("TokenDead",), cooldown_seconds=60),
    HealerSettings(
        action="session_restart",
        errors=("Transient", "ConnectionError"),
        pattern=r"(?i)connection|reset|broken pipe|session|eof",
        cooldown_seconds=60,
    ),
    HealerSettings(action="partition_refetch", errors=("Corrupt",), cooldown_seconds=60),
    HealerSettings(action="cache_clear", errors=("Corrupt",), cooldown_seconds=300),
)


class RecoverySettings(Section):
    """Retries, healing, fallbacks and isolation."""

    max_attempts: int = Field(3, ge=1, le=10, description="Maximum attempts of a call, the first one included.")
    initial_delay_seconds: float = Field(1.0, ge=0, description="Delay before the first retry.")
    multiplier: float = Field(2.0, ge=1, description="Factor by which the delay grows with each retry.")
    max_delay_seconds: float = Field(30.0, gt=0, description="Maximum delay, jitter included.")
    jitter: Literal["full", "proportional", "none"] = Field(
        "full",
        description="Spread of the delay: from 0 to its full length, 25 % around it, or none; never above the maximum.",
    )
    retryable: dict[str, tuple[str, ...]] = Field(
        {"*": ("Transient", "ConnectionError", "TimeoutError")},
        description="Classes of errors that are retried within a call, by source; `*` for every other source. "
        "`Throttled` is never retried there.",
    )
    heal: bool = Field(True, description="Whether healers run.")
    healers: tuple[HealerSettings, ...] = Field(
        DEFAULT_HEALERS,
        description="Healing actions as JSON, tried in this order; see [Let errors heal](../how-to/heal.md).",
    )
    fallbacks: tuple[FallbackSettings, ...] = Field(
        DEFAULT_FALLBACKS,
        description="The [fallback chain](../explanation/recovery.md#fallback-chain) as JSON, in order.",
    )
    isolate: bool = Field(
        True, description="Whether connections, accounts and fallbacks that keep failing are isolated."
    )
    isolation_seconds: float = Field(300, gt=0, description="How long an isolation lasts at first.")
    recovery_threshold: float = Field(0.8, gt=0, le=1, description="Success rate of probes that ends an isolation.")

    @field_validator("retryable")
    @classmethod
    def _retryable_errors_exist(cls, by_source: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for names in by_source.values():
            check_error_names(names)
        return {"*": ("Transient", "ConnectionError", "TimeoutError"), **by_source}

    @field_validator("fallbacks")
    @classmethod
    def _none_is_last(cls, steps: tuple[FallbackSettings, ...]) -> tuple[FallbackSettings, ...]:
        if any(step.kind == "none" for step in steps[:-1]):
            raise ValueError("`none` ends the chain, so it must be the last step")
        return steps


class LogChannel(Section):
    """Alerts as errors in the log; always on."""

    type: Literal["log"] = "log"
    name: str = "log"


class AppriseChannel(Section):
    """Alerts through a URL of Apprise."""

    type: Literal["apprise"] = "apprise"
    name: str = Field(min_length=1, max_length=80, description="Name of the channel.")
    url: SecretStr = Field(description="URL of Apprise, such as `slack://...` or `mailto://...`; it is a secret.")


class NotifierChannel(Section):
    """Alerts through a notifier of Airflow, sent by tasks."""

    type: Literal["notifier"] = "notifier"
    name: str = Field(min_length=1, max_length=80, description="Name of the channel.")
    notifier: str = Field(description="The notifier's class, as `package.module:Class`.")
    arguments: dict[str, str] = Field(
        {},
        description="Its arguments, which name the connection; `{title}`, `{text}`, `{html}` (the text, escaped, for "
        "mails), `{kind}` and `{key}` are replaced.",
    )

    @field_validator("notifier")
    @classmethod
    def _notifier_is_a_path(cls, path: str) -> str | None:
        return check_dotted_path(path)


AlertChannel = Annotated[LogChannel | AppriseChannel | NotifierChannel, Field(discriminator="type")]


class AlertRule(Section):
    """When errors of a kind become an alert."""

    kind: str = Field(description="Class of the errors, such as `Throttled`; `*` for every other one.")
    threshold: int = Field(10, ge=1, description="Errors within the window that raise the alert.")
    window_seconds: float = Field(300, gt=0, le=30 * 86_400, description="The window.")


DEFAULT_RULES = tuple(AlertRule(kind=kind, threshold=1) for kind in ("TokenDead", "Blocked", "VersionEnded"))
"""Only a human can fix these causes, so the first error raises the alert."""


class AlertSettings(Section):
    """Alerts: when, and to which channels."""

    enabled: bool = Field(True, description="Whether alerts are raised.")
    threshold: int = Field(10, ge=1, description="Errors of a kind within the window that raise an alert.")
    window_seconds: float = Field(300, gt=0, le=30 * 86_400, description="That window.")
    rules: tuple[AlertRule, ...] = Field(
        DEFAULT_RULES,
        description="Other thresholds and windows by kind, as JSON. `TokenDead`, `Blocked` and `VersionEnded` keep "
        "their threshold of 1 unless a rule names them.",
    )
    channels: tuple[AlertChannel, ...] = Field(
        (), description="Channels beside the log, as JSON; see [Get alerts](../how-to/alerts.md#channels)."
    )
    weekly_digest: bool = Field(
        False, description="Whether channels get [a digest](../how-to/alerts.md#a-weekly-digest) once a week."
    )

    def rule(self, kind: str) -> AlertRule:
        """Return the rule of a kind: its own, else that of `*`, else the threshold and window of the section."""
        by_kind = {rule.kind: rule for rule in self.rules}
        fallback = AlertRule(kind="*", threshold=self.threshold, window_seconds=self.window_seconds)
        return by_kind.get(kind) or by_kind.get("*", fallback)

    @field_validator("rules")
    @classmethod
    def _urgent_kinds_keep_their_rule(cls, rules: tuple[AlertRule, ...]) -> tuple[AlertRule, ...]:
        kinds = {rule.kind for rule in rules}
        if len(kinds) < len(rules):
            raise ValueError("each kind may have one rule")
        return (*rules, *(rule for rule in DEFAULT_RULES if rule.kind not in kinds))

    @field_validator("channels")
    @classmethod
    def _names_differ(cls, channels: tuple[AlertChannel, ...]) -> tuple[AlertChannel, ...]:
        names = [channel.name for channel in channels]
        if len(set(names)) < len(names) or "log" in names:
            raise ValueError("each channel needs a name of its own, other than `log`")
        return channels


class RetentionSettings(Section):
    """How long rows are kept that would otherwise grow without bound, in days."""

    history_days: int = Field(
        90,
        ge=61,
        description="What explains the past: warms, jobs, errors, resolved alerts, healing actions, unused forecast "
        "snapshots, copies of damaged data, reconciliations, samples of capacity scopes, and removed strategies. The "
        "budget of a strategy looks back over 60 days.",
    )
    traffic_days: int = Field(
        400, ge=60, description="Reads and calls by hour, statistics of compression and integrity, and the open log."
    )
    score_days: int = Field(400, ge=1, description="Fatigue scores.")
    aggregate_days: int = Field(
        800,
        ge=90,
        description="Hours of the access log; never less than `ADWARM_FORECAST__HISTORY_DAYS`.",
    )
    partition_days: int = Field(1_130, ge=95, description="Days of insights.")
    action_days: int = Field(
        400,
        ge=1,
        description="Actions on the page or the command line, policy reviews, arrivals of data, and retired queries of "
        "reports.",
    )


class MaintenanceSettings(Section):
    """The steps of `adwarm_maintenance` and `adwarm maintain`."""

    reconcile_accounts: int = Field(
        2, ge=0, le=1_000, description="Accounts that are reconciled with the platform a day; 0 switches it off."
    )
