"""The sections of the settings about the log, the forecast, planning, flow control and sources."""

from typing import Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import zone
from adwarm.model import QuerySpec
from adwarm.model.breakdowns import check_breakdowns, is_counted
from adwarm.model.keys import DEFAULT_FIELDS

META_LAYOUTS: Final = frozenset({"plain", "fivetran", "airbyte", "dlt"})
"""The layouts whose accounts are Meta's."""
_OPTIONS: Final = TypeAdapter(dict[str, Any])


class Section(BaseModel):
    """A section of the settings: it cannot be changed, and refuses names that are no setting."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def check_zone(name: str) -> str:
    """Return `name`.

    Raises:
        ValueError: it is not a time zone.
    """
    try:
        zone(name)
    except BadRequest as error:
        raise ValueError(str(error)) from None
    return name


def parse_options(text: SecretStr) -> dict[str, Any]:
    """Return the options of a file system.

    Raises:
        ValueError: the text is not a JSON object; the message does not contain it.
    """
    try:
        return _OPTIONS.validate_json(text.get_secret_value(), strict=True)
    except ValidationError:
        raise ValueError('write a JSON object, such as {"key": "...", "secret": "..."}') from None


class LogSettings(Section):
    """Log lines of commands and of `adwarm serve`, on standard error; tasks log as Airflow is configured."""

    format: Literal["text", "json"] = Field("text", description="Text, or one JSON document per line.")
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "WARNING", description="Least level of adwarm's own lines; DEBUG has a line for each call of a platform."
    )


class SqlSettings(Section):
    """Connections to adwarm's database, and its timeouts."""

    pool_size: int = Field(4, ge=1, le=100, description="Maximum connections per process; its threads share them.")
    lock_timeout_seconds: float = Field(
        20, gt=0, le=600, description="How long a statement waits for a lock, and a writer for the SQLite file."
    )
    statement_timeout_seconds: float = Field(
        60,
        gt=0,
        le=3600,
        description="PostgreSQL: longer statements are canceled, except schema upgrades, and so is a transaction that "
        "does nothing for as long.",
    )


class AccessLogSettings(Section):
    """How the access log is read."""

    url: str | None = Field(None, description="File, folder or glob; a local path or any fsspec URL.")
    columns: dict[str, str] = Field(
        {},
        description="Column names by field, where they differ; a dotted path, such as `user.zone`, is a nested value, "
        "and `date time` joins two columns.",
    )
    constants: dict[str, str] = Field(
        {}, description="Fields with the same value in every row, such as `date_range`; a column of the file wins."
    )
    date_ranges: dict[str, str] = Field(
        {}, description='Presets by the words that the log uses for them, such as `{"Letzte Woche": "last_week"}`.'
    )
    where: dict[str, tuple[str, ...]] = Field(
        {},
        description='Values by column that make a row an open, such as `{"event": ["page_view"]}`; unset: all rows.',
    )
    accounts: dict[str, str] | str | None = Field(
        None,
        description="Accounts by the ids of dashboards or charts that the log has instead: a CSV file with id, account "
        'and perhaps range, or a table, such as `{"17": "act_1 last_7d"}`.',
    )
    timestamp_zone: str | None = Field(
        None,
        description="Time zone of timestamps that name none; unset: the zone of the row if it has one, else UTC.",
    )
    timestamp_format: str | None = Field(
        None,
        description="Format of the timestamps as in Python's `strptime`, such as `%d/%m/%Y %H:%M`; unset: detected.",
    )
    pattern: str = Field(
        r"/(?:accounts|act)/(?P<account_id>[A-Za-z0-9][\w.:%-]*)/(?:insights|reports)/(?P<date_range>[A-Za-z0-9_.%-]+)",
        description="Regular expression (RE2) whose groups read `account_id` and `date_range` from the path of a "
        "request; with a group `ts`, it reads whole lines of any text.",
    )
    opens_from: Literal["user", "adwarm", "both"] = Field(
        "both",
        description="Whose log counts opens: yours, adwarm's own, or both without counting an open twice; an account "
        "may have its own choice.",
    )

    @field_validator("timestamp_zone")
    @classmethod
    def _timestamp_zone_exists(cls, name: str | None) -> str | None:
        return name if name is None else check_zone(name)


class FreshnessSettings(Section):
    """How long data of a day is fresh, by the age of the day, and when it is fetched again."""

    today_hours: float = Field(3, gt=0, description="Hours that data of today is fresh.")
    yesterday_hours: float = Field(6, gt=0, description="The same for yesterday.")
    week_hours: float = Field(24, gt=0, description="The same for days that are 2 to `DAILY_DAYS` days old.")
    settling_hours: float = Field(168, gt=0, description="The same for older days that are not settled yet.")
    daily_days: int = Field(
        7,
        ge=2,
        le=28,
        description="Days up to this age are fetched again daily, older ones weekly until they are settled.",
    )
    settle_days: int = Field(
        28, ge=1, le=90, description="Older days are settled: the platform no longer restates them."
    )


class ForecastSettings(Section):
    """The forecast's model and training data."""

    model: Literal["auto", "adwarm", "hour_of_week", "population"] = Field(
        "auto", description="Model that goes live after training; auto: the best one on the held-out last week."
    )
    history_days: int = Field(56, ge=7, le=400, description="Days of access log used for training.")
    log_every_minutes: int = Field(
        60, ge=15, le=24 * 60, description="How often the access log is read. A plan uses opens up to the last reading."
    )


class PlanningSettings(Section):
    """Which keys are warmed, when, and within which budget."""

    open_value: float = Field(
        8.0, gt=1, description="Value of a first open that finds a fresh entry, in upstream calls."
    )
    min_confidence: float = Field(
        0.1, gt=0, lt=1, description="Keys that are less likely to be opened are never warmed."
    )
    step_minutes: int = Field(15, ge=5, le=1440, description="Time between two decisions.")
    max_calls_per_hour: int = Field(
        600, ge=1, description="Upstream calls per hour for warms that the forecast plans; each strategy has its own."
    )
    max_account_calls_per_hour: int = Field(60, ge=1, description="The same for one account.")
    arrival_asset: str | None = Field(
        None, description="URI of an Airflow asset of yours whose events say that data of an account has arrived."
    )


class BackpressureSettings(Section):
    """The budget that all workers share: rate, concurrency, breakers and the request queue."""

    max_concurrent: int = Field(10, ge=1, le=10_000, description="Calls in flight over all workers.")
    per_account_concurrent: int = Field(1, ge=1, le=1_000, description="Calls in flight per account.")
    rate_per_second: float = Field(
        50.0, gt=0, description="Calls per second over all workers, below the platform's limit."
    )
    burst: int = Field(50, ge=1, description="Size of the token bucket: calls that may be made at once.")
    quota_window_seconds: float = Field(3600, gt=0, description="Rolling window in which the platform counts calls.")
    account_calls_per_window: int | None = Field(
        None, ge=1, description="Maximum calls of one account in that window, for platforms that report no usage."
    )
    shares: tuple[float, float, float, float] = Field(
        (0.4, 0.3, 0.2, 0.1),
        description="Shares of concurrency and rate of the classes critical, high, normal and low.",
    )
    breaker_error_rate: float = Field(0.5, gt=0, le=1, description="Share of failed calls that opens a breaker.")
    breaker_window_seconds: float = Field(60, gt=0, description="Window of that share.")
    breaker_min_calls: int = Field(10, ge=1, description="Minimum calls in the window to open a breaker.")
    breaker_cooldown_seconds: float = Field(
        30, gt=0, description="How long a breaker stays open before it admits probes."
    )
    lease_seconds: float = Field(
        30, gt=0, description="Grants, request leases and fetch leases of a worker that died expire after this long."
    )
    queue_size: int = Field(100, ge=1, le=100_000, description="Maximum pending requests; further ones are refused.")
    queue_timeout_seconds: float = Field(
        900, gt=0, description="Deadline of a queued request that no caller waits for."
    )
    timeout_seconds: float = Field(30, gt=0, description="How long a caller waits for admission or a report.")
    memory_percent: float = Field(
        80,
        gt=0,
        le=100,
        description="Percentage of its memory above which a machine makes half as many calls.",
    )
    cpu_percent: float = Field(
        70, gt=0, le=100, description="Percentage of its processors above which it does so, too."
    )

    @field_validator("shares")
    @classmethod
    def _shares_add_up(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise ValueError("the four shares must be at least 0 and add up to 1")
        return shares


class FatigueSettings(Section):
    """The ad fatigue score."""

    weights: tuple[float, float, float] = Field(
        (0.40, 0.35, 0.25),
        description="Weights of creative, audience and algorithm; 0.40, 0.30, 0.30 is the other published choice.",
    )
    min_days: int = Field(7, ge=2, description="Minimum days with delivery; with fewer the score is pending.")
    min_impressions: int = Field(500, ge=0, description="Minimum impressions; with fewer the score is pending.")
    alert_at: Literal["off", "warning", "critical", "alarm"] = Field(
        "critical",
        description="Least that an alert names an ad for: a status that got this bad, or an alarm; `off`: nothing.",
    )
    false_alarms_per_account_week: float = Field(
        1.0, gt=0, description="Alarm: false alarms of an account in a week, at most on average."
    )


class SourceSettings(Section):
    """Where insights come from when no Airflow connection is set."""

    kind: str = Field(
        "meta",
        pattern=r"^[A-Za-z_][\w.-]*(:[A-Za-z_]\w*)?$",
        description="`meta`, `parquet`, `sql`, or a source of your own: `package.module:function`, or an entry point.",
    )
    options: dict[str, str] = Field({}, description="A source of your own: its options, without secrets.")
    graph_url: str = Field(
        "https://graph.facebook.com", description="Meta: base URL of the Graph API or of the simulator."
    )
    api_version: str = Field(
        "v26.0",
        pattern=r"^v[1-9]\d{1,2}\.0$",
        description="Meta: version of the API; `adwarm doctor` checks it by a call, and says how long it lives.",
    )
    access_token: SecretStr | None = Field(None, description="Meta: access token; better kept in a connection.")
    app_secret: SecretStr | None = Field(None, description="Meta: app secret; when set, it signs calls.")
    app_id: str | None = Field(None, description="Meta: id of the token's app.")
    access_tier: Literal["development_access", "standard_access"] = Field(
        "standard_access",
        description="Meta: access tier of the app; determines how long an account is parked by a rate limit.",
    )
    read_timeout: float = Field(
        30.0, gt=0, description="Timeout of the response headers, and between two bytes of the body, in seconds."
    )
    call_timeout: float = Field(120.0, gt=0, description="Timeout of a whole call with its retries, in seconds.")
    url: str | None = Field(None, description="Parquet: a file, folder or fsspec URL. SQL: an SQLAlchemy URL.")
    table: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$",
        description="SQL: table, optionally with its schema; unset: the layout's table, or `insights`.",
    )
    layout: Literal[
        "plain",
        "fivetran",
        "airbyte",
        "dlt",
        "ad_reporting",
        "google_ads",
        "tiktok_ads",
        "pinterest_ads",
        "linkedin_ads",
    ] = Field("plain", description="Tables and files: the loader that wrote them, or the platform they are of.")
    level: Literal["ad", "adset", "campaign", "account"] = Field(
        "ad", description="Tables and files: level of a row; reports of higher levels are sums."
    )
    columns: dict[str, str] = Field({}, description="Tables and files: column names by field, where they differ.")
    constants: dict[str, str] = Field(
        {}, description="Tables and files: fields with the same value in every row, such as `account_id`."
    )
    day_zone: str = Field("UTC", description="Tables and files: time zone that turns timestamps into days.")
    currency: str | None = Field(
        None, pattern=r"^[A-Z]{3}$", description="Tables and files: currency; unset: the rows' own currency, or USD."
    )

    @property
    def has_meta_ids(self) -> bool:
        """Whether bare digits are the id of an account of Meta's: in all but tables of other platforms."""
        return self.kind not in {"parquet", "sql"} or self.layout in META_LAYOUTS

    @field_validator("day_zone")
    @classmethod
    def _day_zone_exists(cls, name: str) -> str:
        return check_zone(name)


class ReportSettings(Section):
    """A report: a named query."""

    level: Literal["ad", "adset", "campaign", "account"] = Field("ad", description="What a row stands for.")
    fields: tuple[str, ...] | None = Field(None, description="Insights fields; unset: what the score needs.")
    attribution: Literal["unified", "account"] = Field(
        "unified",
        description="Meta: the setting that counts conversions: `unified`, that of each ad set, as Ads Manager shows; "
        "or `account`, that of the ad account.",
    )
    attribution_windows: tuple[str, ...] = Field(
        (), description="Meta: windows beside that setting's own figure, such as 7d_click."
    )
    breakdowns: tuple[str, ...] = Field(
        (),
        description="Meta: fields that divide each row into groups, such as age and gender; not for the report "
        "`default`, which scores read.",
    )
    action_breakdowns: tuple[str, ...] = Field(
        (), description="Meta: fields that divide the items of lists of actions, such as action_device."
    )

    @property
    def query(self) -> QuerySpec:
        """The report's query."""
        counted = tuple(name for name in DEFAULT_FIELDS if is_counted(name, self.breakdowns))
        fields = counted if self.fields is None else self.fields
        windows, divided = self.attribution_windows, (self.breakdowns, self.action_breakdowns)
        return QuerySpec(self.level, fields, windows, self.attribution, *divided)

    @model_validator(mode="after")
    def _breakdowns_are_allowed(self) -> Self:
        check_breakdowns(self.breakdowns, self.action_breakdowns, self.query.fields)
        return self
