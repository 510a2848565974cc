"""Every setting, with its default and what it means; the only reader of `ADWARM_*`.

Values come from the environment (`ADWARM_DATABASE_URL`, `ADWARM_PLANNING__MIN_CONFIDENCE`, ...) and, below it, from
the TOML file named by `ADWARM_CONFIG`.
"""

import os
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import zone
from adwarm.model import FreshnessRules, QuerySpec


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _known_zone(name: str) -> str:
    try:
        zone(name)
    except BadRequest as error:
        raise ValueError(str(error)) from None
    return name


class SqlSettings(_Section):
    """Connections to adwarm's database, and how long anything may wait for it."""

    pool_size: int = Field(
        4, ge=1, le=100, description="Connections of one process at the most; its threads share them."
    )
    pool_timeout_seconds: float = Field(30, gt=0, le=600, description="How long a thread waits for one of them.")
    lock_timeout_seconds: float = Field(
        20, gt=0, le=600, description="How long a statement waits for a lock, and a writer for a SQLite file."
    )
    statement_timeout_seconds: float = Field(
        60, gt=0, le=3600, description="PostgreSQL: a statement that takes longer is ended. Schema upgrades are not."
    )
    connect_timeout_seconds: int = Field(10, ge=2, le=120, description="PostgreSQL: how long connecting may take.")


class AccessLogSettings(_Section):
    """How the access log is read."""

    url: str | None = Field(None, description="File, folder or glob; a local path or any fsspec URL.")
    path_pattern: str = Field(
        r"/(?:accounts|act)/(?P<account_id>(?:act_)?\d+)/(?:insights|reports)/(?P<date_range>[A-Za-z0-9_.-]+)",
        description="Combined log format: maps the request path to `account_id` and `date_range`.",
    )
    late_hours: int = Field(48, ge=0, le=24 * 14, description="Late events reopen their hour for this long.")
    max_line_bytes: int = Field(65_536, ge=256, description="A longer line is quarantined.")
    share_events: int = Field(
        5_000_000, ge=1, description="A run with more events to read is shared among mapped tasks, about so many each."
    )


class FreshnessSettings(_Section):
    """Life of an entry by the age of its newest day, and when a day is asked for again."""

    today_hours: float = Field(3, gt=0, description="Newest day is today.")
    yesterday_hours: float = Field(6, gt=0, description="Newest day is yesterday.")
    week_hours: float = Field(24, gt=0, description="Newest day is 2 to `DAILY_DAYS` days old.")
    settling_hours: float = Field(168, gt=0, description="Newest day is older, and not settled yet.")
    daily_days: int = Field(
        7, ge=2, le=28, description="Days up to this age are asked for again once a day, older ones once a week."
    )
    settle_days: int = Field(28, ge=1, le=90, description="Older days are final: the platform restates none.")


class ForecastSettings(_Section):
    """What the forecast learns from, and which model it is."""

    model: Literal["auto", "adwarm", "hour_of_week", "population"] = Field(
        "auto", description="Which model goes live after training; auto: the one that does best on the last week."
    )
    history_days: int = Field(56, ge=7, le=400, description="Days of log the forecast learns from.")
    log_every_minutes: int = Field(
        60, ge=15, le=24 * 60, description="How often the log is read: a plan looks at opens up to the last time only."
    )
    half_life_days: float = Field(28, gt=0, description="Age at which an open counts half.")
    key_strength: float = Field(4.0, gt=0, description="Weeks of evidence the account's profile is worth for a key.")
    account_strength: float = Field(20.0, gt=0, description="Weeks the population's profile is worth for an account.")


class PlanningSettings(_Section):
    """What is worth a warm."""

    open_value: float = Field(
        8.0, gt=1, description="What a first open that finds a fresh entry is worth, in upstream calls."
    )
    min_confidence: float = Field(
        0.1, gt=0, lt=1, description="Keys less likely to be opened are left alone, whatever they cost."
    )
    step_minutes: int = Field(15, ge=5, le=1440, description="Time between two decisions.")
    lead_seconds: float = Field(60, ge=0, description="Queue and start time added to the p95 of a fetch.")
    session_minutes: float = Field(30, ge=0, description="A warm must stay fresh this long after the open.")
    max_calls_per_hour: int = Field(600, ge=1, description="Upstream calls that planned warms may use in an hour.")
    max_account_calls_per_hour: int = Field(60, ge=1, description="Of them, those of one account.")
    day_close_after_minutes: int = Field(30, ge=0, description="Earliest close of an account's day after midnight.")
    day_close_spread_minutes: int = Field(150, ge=1, description="Accounts close spread over this many minutes.")
    history_days: int = Field(37, ge=8, le=90, description="Days of rows kept ready for the fatigue score.")


class ReviewSettings(_Section):
    """The weekly review of the policies."""

    training_weeks: int = Field(8, ge=2, le=52, description="Weeks the policies learn from before the scored ones.")
    scored_weeks: int = Field(2, ge=1, le=12, description="Weeks that are replayed and scored, the last of the log.")
    policies: tuple[str, ...] = Field(
        ("hour-of-week", "adwarm", "population-profile"), description="What is replayed beside the live kind."
    )
    max_keys: int = Field(5_000, ge=1, description="Keys replayed; of more, a fair sample of accounts.")
    max_ece: float = Field(
        0.1, gt=0, lt=1, description="The overstated part of the mean gap (ECE) above which calibration is broken."
    )
    min_cases: int = Field(2_000, ge=1, description="Probabilities of 0.1 and more below which no gap is judged.")
    min_gain: float = Field(0.005, ge=0, lt=1, description="First-open hit ratio a better policy must add.")
    approval_hours: float = Field(72, gt=0, description="A proposal without an answer is rejected after this long.")


class BackpressureSettings(_Section):
    """One budget for every worker."""

    max_concurrent: int = Field(10, ge=1, le=10_000, description="Calls in flight over all workers.")
    per_account_concurrent: int = Field(1, ge=1, le=1_000, description="Calls in flight per account.")
    rate_per_second: float = Field(50.0, gt=0, description="Token bucket of the fleet, kept below the platform's cap.")
    burst: int = Field(50, ge=1, description="Tokens the bucket holds.")
    quota_window_seconds: float = Field(3600, gt=0, description="Rolling window the platform counts calls in.")
    account_calls_per_window: int | None = Field(
        None, ge=1, description="Cap of one account in that window, where the platform sends no usage figures."
    )
    block_permits: int = Field(8, ge=1, le=1_000, description="Most permits a worker takes at once.")
    shares: tuple[float, float, float, float] = Field(
        (0.4, 0.3, 0.2, 0.1), description="Critical, high, normal, low: shares of concurrency and rate."
    )
    breaker_error_rate: float = Field(0.5, gt=0, le=1, description="Share of failed calls that opens the breaker.")
    breaker_window_seconds: float = Field(60, gt=0, description="Window the share is taken over.")
    breaker_min_calls: int = Field(10, ge=1, description="Fewer calls in the window never open it.")
    breaker_min_accounts: int = Field(
        3,
        ge=1,
        description="Accounts that must fail for the breaker of the whole source; one of an account wants none.",
    )
    breaker_cooldown_seconds: float = Field(30, gt=0, description="Open this long, then probe.")
    breaker_probes: int = Field(3, ge=1, description="Probes that must succeed to close it.")
    longest_park_seconds: float = Field(
        86_400, gt=0, le=30 * 86_400, description="A platform that asks for a longer silence gets this, and an alert."
    )
    lease_seconds: float = Field(30, gt=0, description="A dead worker's grants expire after this long.")
    queue_size: int = Field(100, ge=1, le=100_000, description="Pending requests; more are refused.")
    queue_timeout_seconds: float = Field(900, gt=0, description="Deadline of a request that nobody waits for.")
    queue_ageing_seconds: float = Field(120, gt=0, description="Waiting this long counts as much as one class.")
    queue_max_attempts: int = Field(3, ge=1, le=100, description="Tries of a request before it is given up.")
    timeout_seconds: float = Field(30, gt=0, description="How long a caller may wait for admission.")
    memory_percent: float = Field(80, gt=0, le=100, description="Above this, intake slows.")

    @property
    def block_seconds(self) -> float:
        """How long a block of permits lasts: short enough to end for a class above, and to blur no quota window."""
        return min(2.0, self.quota_window_seconds / 100)

    @field_validator("shares")
    @classmethod
    def _shares_add_up(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise ValueError("the four shares must be at least 0 and add up to 1")
        return shares


class RecoverySettings(_Section):
    """Retry, heal, fall back, isolate, alert."""

    max_attempts: int = Field(3, ge=1, le=10, description="Calls in all, the first one included.")
    initial_delay_seconds: float = Field(1.0, ge=0, description="Wait before the first retry.")
    multiplier: float = Field(2.0, ge=1, description="Growth of the wait from retry to retry.")
    max_delay_seconds: float = Field(30.0, gt=0, description="Longest wait; jitter stays below it.")
    retry_budget: float = Field(0.1, ge=0, le=1, description="Retries allowed per first try.")
    alert_threshold: int = Field(10, ge=1, description="Errors in the window that raise an alert.")
    alert_window_seconds: float = Field(300, gt=0, le=30 * 86_400, description="Window the errors are counted in.")
    isolation_seconds: float = Field(300, gt=0, description="How long a failing source is left out.")
    recovery_threshold: float = Field(0.8, gt=0, le=1, description="Success rate that ends an isolation.")


class CompressionSettings(_Section):
    """How entries are packed."""

    codec: Literal["zstd", "gzip", "brotli", "identity"] = Field("zstd", description="How entries are packed.")
    gzip_level: int = Field(6, ge=0, le=9, description="Level of gzip.")
    brotli_quality: int = Field(5, ge=0, le=11, description="Quality of brotli.")
    zstd_level: int = Field(8, ge=1, le=19, description="Level of zstd.")
    threshold_bytes: int = Field(512, ge=0, description="Smaller payloads stay as they are.")
    max_decoded_bytes: int = Field(64 * 2**20, ge=1024, description="Decoding stops here (decompression bombs).")
    cache_bytes: int = Field(16 * 2**20, ge=0, description="Budget of the decoded-payload cache.")


class FatigueSettings(_Section):
    """The ad fatigue score."""

    weights: tuple[float, float, float] = Field((0.40, 0.35, 0.25), description="Creative, audience, algorithm.")
    min_days: int = Field(7, ge=2, description="Days with delivery below which a score is pending.")
    recent_days: int = Field(3, ge=1, description="Days that are judged.")
    baseline_days: int = Field(30, ge=7, description="Days they are judged against.")
    min_impressions: int = Field(500, ge=0, description="Impressions below which a score is pending.")


class SourceSettings(_Section):
    """Where insights come from when no Airflow connection says so."""

    kind: Literal["meta", "parquet", "sql"] = Field("meta", description="Which source.")
    graph_url: str = Field("https://graph.facebook.com", description="Meta: the Graph API, or the simulator.")
    api_version: Literal["v25.0", "v26.0"] = Field("v26.0", description="Meta: Graph API version.")
    access_token: SecretStr | None = Field(None, description="Meta: token; better kept in a connection.")
    app_secret: SecretStr | None = Field(None, description="Meta: signs the token when set.")
    app_id: str | None = Field(None, description="Meta: the app the token belongs to.")
    access_tier: Literal["development_access", "standard_access"] = Field(
        "standard_access", description="Meta: the app's tier; says how long a score limit parks an account."
    )
    page_size: int = Field(500, ge=1, le=1000, description="Rows asked for in one page.")
    report_days: int = Field(45, ge=1, description="Longer spans of days go as a report made in the background.")
    report_rows: int = Field(10_000, ge=1, description="So do questions that expect more rows than this.")
    report_poll_seconds: float = Field(2.0, gt=0, description="First look at a running report; later ones back off.")
    report_poll_max_seconds: float = Field(30.0, gt=0, description="Longest time between two looks.")
    report_stuck_seconds: float = Field(300.0, gt=0, description="A report without progress for so long is given up.")
    report_max_seconds: float = Field(3_600.0, gt=0, description="An older report is given up, and not taken up again.")
    connect_timeout: float = Field(3.05, gt=0, description="Seconds to connect to one address.")
    read_timeout: float = Field(
        30.0, gt=0, description="Seconds until the head of an answer is complete, and between two of its bytes."
    )
    call_timeout: float = Field(120.0, gt=0, description="Seconds for a whole call, to the last byte of its answer.")
    max_response_bytes: int = Field(16 * 2**20, ge=1024, description="A larger answer is refused, as sent or unpacked.")
    max_pages: int = Field(2_000, ge=1, description="Most pages of one unit; more are asked for in smaller units.")
    max_rows: int = Field(500_000, ge=1, description="Most rows of one unit.")
    max_bytes: int = Field(512 * 2**20, ge=1024, description="Most bytes of one unit, over all its pages.")
    url: str | None = Field(None, description="Parquet: a file, folder or fsspec URL. SQL: an SQLAlchemy URL.")
    table: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$",
        description="SQL: the table, with its schema if need be; unset: the layout's, or `insights`.",
    )
    layout: Literal["plain", "fivetran", "airbyte", "dlt"] = Field(
        "plain", description="Tables and files: which loader wrote them."
    )
    level: Literal["ad", "adset", "campaign", "account"] = Field(
        "ad", description="Tables and files: what a row is about; reports of levels above it are added up."
    )
    columns: dict[str, str] = Field(
        {}, description="Tables and files: columns by field, where they go by names of their own."
    )
    constants: dict[str, str] = Field(
        {}, description="Tables and files: ids and names that every row has and no column holds, such as `account_id`."
    )
    day_zone: str = Field("UTC", description="Tables and files: zone in which moments that carry a zone are days.")
    currency: str | None = Field(
        None, pattern=r"^[A-Z]{3}$", description="Tables and files: of their money; unset: what they say, or USD."
    )

    @field_validator("day_zone")
    @classmethod
    def _day_zone_exists(cls, name: str) -> str:
        return _known_zone(name)


class ReportSettings(_Section):
    """A report is a query spec with a name."""

    level: Literal["ad", "adset", "campaign", "account"] = Field("ad", description="One row per what.")
    fields: tuple[str, ...] | None = Field(None, description="Insights fields; unset: what the score needs.")
    attribution_windows: tuple[str, ...] = Field((), description="Such as 7d_click; empty: the platform's default.")


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix="ADWARM_", env_nested_delimiter="__", frozen=True, extra="ignore", env_ignore_empty=True
    )

    home: Path = Field(Path(".adwarm"), description="Folder of the embedded default: database, data, demo, bench.")
    database_url: str | None = Field(None, description="SQLAlchemy URL; SQLite under `home` by default.")
    data_url: str | None = Field(None, description="Folder or fsspec URL of the object store.")
    access_log_url: str | None = Field(None, description="Short for ADWARM_ACCESS_LOG__URL.")
    default_zone: str = Field("UTC", description="Zone of an account or reader whose own is unknown.")
    batch_size: int = Field(50, ge=1, le=5_000, description="Keys in one mapped task, at the least.")
    max_batches: int = Field(16, ge=1, le=128, description="Mapped tasks of one run, at the most.")
    workers: int = Field(8, ge=1, le=128, description="Accounts of one batch that are worked on at the same time.")
    max_threads: int = Field(
        32, ge=1, le=512, description="Threads of one batch, those included that wait for an async report."
    )
    account_seconds: float = Field(
        900, gt=0, description="Longest work on one account of a batch; waiting for async reports is not counted."
    )
    batch_seconds: float = Field(
        3_600, gt=0, description="Longest work on a batch; what is left is parked and goes on in the next attempt."
    )
    sql: SqlSettings = SqlSettings()
    access_log: AccessLogSettings = AccessLogSettings()
    freshness: FreshnessSettings = FreshnessSettings()
    forecast: ForecastSettings = ForecastSettings()
    planning: PlanningSettings = PlanningSettings()
    review: ReviewSettings = ReviewSettings()
    backpressure: BackpressureSettings = BackpressureSettings()
    recovery: RecoverySettings = RecoverySettings()
    compression: CompressionSettings = CompressionSettings()
    fatigue: FatigueSettings = FatigueSettings()
    source: SourceSettings = SourceSettings()
    connections: dict[str, SourceSettings] = Field({}, description="Further tokens by name, as `source` has one.")
    reports: dict[str, ReportSettings] = {"default": ReportSettings()}

    @field_validator("reports")
    @classmethod
    def _default_report_stays(cls, reports: dict[str, ReportSettings]) -> dict[str, ReportSettings]:
        """A further report is one more, and `default` is there unless it is defined anew."""
        return {"default": ReportSettings(), **reports}

    @field_validator("default_zone")
    @classmethod
    def _zone_exists(cls, name: str) -> str:
        return _known_zone(name)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, the environment over the TOML file."""
        del dotenv_settings, file_secret_settings
        path = os.environ.get("ADWARM_CONFIG")
        toml = (TomlConfigSettingsSource(settings_cls, path),) if path else ()
        return (init_settings, env_settings, *toml)

    @cached_property
    def database(self) -> str:
        """The SQLAlchemy URL in force."""
        return self.database_url or f"sqlite:///{(self.home / 'adwarm.db').absolute()}"

    @cached_property
    def data(self) -> str:
        """The object store's folder or URL in force."""
        return self.data_url or str((self.home / "data").absolute())

    @cached_property
    def log_url(self) -> str | None:
        """The access log in force, if one is set."""
        return self.access_log_url or self.access_log.url

    @cached_property
    def freshness_rules(self) -> FreshnessRules:
        """The freshness settings as the value the model works with."""
        hours = self.freshness
        return FreshnessRules(
            today=timedelta(hours=hours.today_hours),
            yesterday=timedelta(hours=hours.yesterday_hours),
            week=timedelta(hours=hours.week_hours),
            settling=timedelta(hours=hours.settling_hours),
            settle_days=hours.settle_days,
            daily_days=hours.daily_days,
        )

    @cached_property
    def step(self) -> timedelta:
        """Time between two decisions."""
        return timedelta(minutes=self.planning.step_minutes)

    def spec(self, report: str) -> QuerySpec:
        """Return the query of the report named `report`.

        Raises:
            BadRequest: no such report is configured.
        """
        found = self.reports.get(report)
        if found is None:
            raise BadRequest(f"report {report!r} is not configured; the reports are {', '.join(sorted(self.reports))}")
        spec = QuerySpec(level=found.level, attribution_windows=found.attribution_windows)
        return spec if found.fields is None else QuerySpec(found.level, found.fields, found.attribution_windows)


def load_settings(**overrides: Any) -> Settings:
    """Return the settings of this process.

    Raises:
        BadRequest: a value is wrong; the message names the variable and the reason, never a secret.
    """
    path = os.environ.get("ADWARM_CONFIG")
    if path and not Path(path).is_file():
        raise BadRequest(f"ADWARM_CONFIG names {path!r}, which is not a file")
    try:
        return Settings(**overrides)
    except ValidationError as error:
        reasons = "; ".join(
            f"ADWARM_{'__'.join(str(part) for part in item['loc']).upper()}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        )
        raise BadRequest(f"settings are not valid: {reasons}") from None
