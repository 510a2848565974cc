"""Every setting with its default and meaning. No other module reads `ADWARM_*`.

Values come from the environment (`ADWARM_DATABASE_URL`, `ADWARM_PLANNING__MIN_CONFIDENCE`, ...), and from the TOML file
that `ADWARM_CONFIG` names; the environment wins. What neither sets may come from the function that
`ADWARM_SECRETS_HOOK` names. A name that is not a setting is refused.
"""

import logging
import os
from collections.abc import Mapping
from datetime import time, timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import Field, PrivateAttr, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.home import HomeChoice, absolute_path, choose_home
from adwarm.foundation.local_time import zone
from adwarm.foundation.storage import StorageOptions, find_family, use_settings
from adwarm.foundation.strict_settings import SettingNames, load, read_settings_file
from adwarm.model import FreshnessRules, QuerySpec
from adwarm.model.keys import name_report
from adwarm.settings.credentials import call_secrets_hook, register_environment, register_settings
from adwarm.settings.reader_sections import CacheSettings, CompressionSettings, ServingSettings
from adwarm.settings.recovery_sections import (
    AlertSettings,
    HealerSettings,
    MaintenanceSettings,
    RecoverySettings,
    RetentionSettings,
)
from adwarm.settings.sections import (
    AccessLogSettings,
    BackpressureSettings,
    FatigueSettings,
    ForecastSettings,
    FreshnessSettings,
    LogSettings,
    PlanningSettings,
    ReportSettings,
    SourceSettings,
    SqlSettings,
    check_zone,
    parse_options,
)

__all__ = [
    "NAMES",
    "OTHER_VARIABLES",
    "AccessLogSettings",
    "AlertSettings",
    "BackpressureSettings",
    "CacheSettings",
    "CompressionSettings",
    "FatigueSettings",
    "ForecastSettings",
    "FreshnessSettings",
    "HealerSettings",
    "LogSettings",
    "MaintenanceSettings",
    "PlanningSettings",
    "RecoverySettings",
    "ReportSettings",
    "RetentionSettings",
    "ServingSettings",
    "Settings",
    "SourceSettings",
    "SqlSettings",
    "home_choice",
    "load_settings",
    "zone",
]
OTHER_VARIABLES = (
    "ADWARM_CONFIG",  # the settings file
    "ADWARM_SECRETS_HOOK",  # a function that returns settings
    "ADWARM_API_TOKEN",  # of `adwarm-mcp`
    "ADWARM_IMAGE",  # docker-compose.yaml
    "ADWARM_POSTGRES_PASSWORD",
    "ADWARM_LOCAL_STACK",  # `make up`
    "ADWARM_UP_LAST_SIMULATOR",
    "ADWARM_UP_PORT",
    "ADWARM_UP_SOURCE_LOG",
)
"""Names with the prefix that are not settings; every other name is refused."""


class Settings(BaseSettings):
    """All settings of one process."""

    model_config = SettingsConfigDict(
        env_prefix="ADWARM_", env_nested_delimiter="__", frozen=True, extra="forbid", env_ignore_empty=True
    )

    home: Path = Field(
        default_factory=lambda: choose_home(os.environ).path,
        description="Folder of the default database and object store; unset: `adwarm` in `AIRFLOW_HOME`, without "
        "that in the user's data folder.",
    )
    database_url: str | None = Field(None, description="SQLAlchemy URL of the database; by default SQLite in `home`.")
    data_url: str | None = Field(None, description="Folder or fsspec URL of the objects; by default in `home`.")
    data_connection: str | None = Field(
        None,
        description="Airflow: connection of type `aws` or `google_cloud_platform` with the credentials of the data URL "
        "and of the access log's; outside Airflow it is not read.",
    )
    data_options: SecretStr | None = Field(
        None,
        description="Options of the fsspec file system of the data URL as JSON, such as credentials; unset: the "
        "storage's own variables and files are used.",
    )
    default_zone: str = Field("UTC", description="Time zone of accounts and readers whose own is unknown.")
    warm_by: time | None = Field(
        None,
        description="Local time of the morning, such as `07:30`, by which warming must be done; later, Airflow alerts.",
    )
    warming_queue: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.-]{1,100}$",
        description="Queue of the mapped tasks that fetch batches; unset: the default queue of Airflow.",
    )
    max_batches: int = Field(16, ge=1, le=128, description="Maximum mapped tasks per run.")
    workers: int = Field(8, ge=1, le=128, description="Accounts of a batch that are fetched concurrently.")
    account_seconds: float = Field(
        900, gt=0, description="Maximum time for one account of a batch: its calls, retries, pages and async reports."
    )
    log: LogSettings = LogSettings()
    sql: SqlSettings = SqlSettings()
    access_log: AccessLogSettings = AccessLogSettings()
    freshness: FreshnessSettings = FreshnessSettings()
    forecast: ForecastSettings = ForecastSettings()
    planning: PlanningSettings = PlanningSettings()
    backpressure: BackpressureSettings = BackpressureSettings()
    recovery: RecoverySettings = RecoverySettings()
    alerts: AlertSettings = AlertSettings()
    retention: RetentionSettings = RetentionSettings()
    maintenance: MaintenanceSettings = MaintenanceSettings()
    compression: CompressionSettings = CompressionSettings()
    cache: CacheSettings = CacheSettings()
    serving: ServingSettings = ServingSettings()
    fatigue: FatigueSettings = FatigueSettings()
    source: SourceSettings = SourceSettings()
    connections: dict[str, SourceSettings] = Field({}, description="Further connections by name, set like `source`.")
    reports: dict[str, ReportSettings] = {"default": ReportSettings()}
    _specs: dict[str, Mapping[str, QuerySpec]] = PrivateAttr(default_factory=dict)

    @field_validator("reports")
    @classmethod
    def _default_report_stays(cls, reports: dict[str, ReportSettings]) -> dict[str, ReportSettings]:
        """Keep the report `default` when only further reports are set, and whole: scores and plain sums read it."""
        reports = {"default": ReportSettings(), **reports}
        if reports["default"].breakdowns or reports["default"].action_breakdowns:
            raise ValueError("the report `default` has no breakdowns, because ads are scored by it; name another one")
        return reports

    @field_validator("home")
    @classmethod
    def _home_is_absolute(cls, home: Path) -> Path:
        return absolute_path(home)

    @field_validator("default_zone")
    @classmethod
    def _zone_exists(cls, name: str) -> str:
        return check_zone(name)

    @field_validator("data_options")
    @classmethod
    def _options_are_an_object(cls, options: SecretStr | None) -> SecretStr | None:
        if options is not None:
            parse_options(options)
        return options

    @model_validator(mode="after")
    def _secrets_are_registered(self) -> Self:
        register_settings(self)
        register_environment(os.environ)
        options = {} if self.data_options is None else parse_options(self.data_options)
        use_settings(StorageOptions(options, find_family(self.data)))
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments take precedence over the environment, then the TOML file, then the secrets hook."""
        del dotenv_settings, file_secret_settings
        path = os.environ.get("ADWARM_CONFIG")
        toml = (TomlConfigSettingsSource(settings_cls, path),) if path else ()
        hook = os.environ.get("ADWARM_SECRETS_HOOK")
        secrets = (InitSettingsSource(settings_cls, call_secrets_hook(hook, "ADWARM_SECRETS_HOOK")),) if hook else ()
        is_set = any(name.upper().startswith("ADWARM_") for name in os.environ)
        # The source of the environment looks for each setting, also where none can be.
        return (init_settings, *((env_settings,) if is_set else ()), *toml, *secrets)

    @cached_property
    def database(self) -> str:
        """The effective SQLAlchemy URL."""
        return self.database_url or f"sqlite:///{self.home / 'adwarm.db'}"

    @cached_property
    def data(self) -> str:
        """The effective folder or URL of the object store."""
        return self.data_url or str(self.home / "data")

    @cached_property
    def freshness_rules(self) -> FreshnessRules:
        """The freshness settings as a value of the model."""
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

    def use_specs(self, specs: Mapping[str, QuerySpec]) -> None:
        """Let `spec` return these queries, by report, instead of those that are configured.

        After a change of settings the store says from when on the new query is used. Copies of these settings share
        the choice, and a process that runs for long may change it at any time.
        """
        self._specs["active"] = dict(specs)

    def spec(self, report: str) -> QuerySpec:
        """Return the query of a report that is in use; that of `name_next` is the one in use once it was switched.

        Raises:
            BadRequest: no such report is configured.
        """
        specs = self._specs.get("active", {})
        for name in (report, name_report(report)):
            if name in specs:
                return specs[name]
        return self.configured_spec(name_report(report))

    def configured_spec(self, report: str) -> QuerySpec:
        """Return the query of a report as the settings have it, whether it is in use yet or not.

        Raises:
            BadRequest: no such report is configured.
        """
        configured = self.reports.get(report)
        if configured is None:
            raise BadRequest(f"report {report!r} is not configured; the reports are {', '.join(sorted(self.reports))}")
        return configured.query


NAMES = SettingNames(Settings, "ADWARM_", OTHER_VARIABLES)


def load_settings(**overrides: Any) -> Settings:
    """Return the settings of this process.

    Raises:
        BadRequest: a name is not a setting, or a value is not valid; the message names each variable and the reason,
            and contains no value.
    """
    choice = home_choice()
    if choice.is_relative and "home" not in overrides:
        _warn_of_relative_home(choice)
    return load(Settings, NAMES, os.environ, overrides)


def home_choice() -> HomeChoice:
    """Return how the home of this process was chosen.

    Raises:
        BadRequest: the settings file cannot be read.
    """
    file = read_settings_file(os.environ.get("ADWARM_CONFIG"), "ADWARM_CONFIG")
    return choose_home(os.environ, file.get("home"))


@cache  # once in a process
def _warn_of_relative_home(choice: HomeChoice) -> None:
    """Log that the home depends on the working folder, so that every process may find another one."""
    logging.getLogger(__name__).warning("the home %s is relative; this process uses %s", choice.rule, choice.path)
