"""Settings: sources and their precedence, invalid values, and no secret in any message."""

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from adwarm.foundation.errors import BadRequest
from adwarm.settings import Settings, load_settings

TOML = """
default_zone = "Asia/Tokyo"
batch_size = 7

[planning]
min_confidence = 0.4
step_minutes = 30

[source]
access_token = "from-toml"

[reports.campaigns]
level = "campaign"
fields = ["account_id", "campaign_id", "spend"]
"""


@pytest.fixture
def toml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file that `ADWARM_CONFIG` names."""
    path = tmp_path / "adwarm.toml"
    path.write_text(TOML, encoding="utf-8")
    monkeypatch.setenv("ADWARM_CONFIG", str(path))
    return path


def test_defaults_need_no_environment() -> None:
    """Without any variable the defaults work, and everything is in one folder."""
    found = load_settings()
    assert found.database == f"sqlite:///{Path('.adwarm/adwarm.db').absolute()}"
    assert found.data == str(Path(".adwarm/data").absolute())
    assert found.log_url is None
    assert found.step == timedelta(minutes=15)
    assert found.freshness_rules.today == timedelta(hours=3)


def test_the_environment_reaches_every_section(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two underscores separate nested names; lists are JSON; an empty value counts as unset."""
    monkeypatch.setenv("ADWARM_DATABASE_URL", "postgresql://db/adwarm")
    monkeypatch.setenv("ADWARM_COMPRESSION__GZIP_LEVEL", "0")
    monkeypatch.setenv("ADWARM_FATIGUE__WEIGHTS", "[0.4, 0.3, 0.3]")
    monkeypatch.setenv("ADWARM_FRESHNESS__TODAY_HOURS", "1.5")
    monkeypatch.setenv("ADWARM_DATA_URL", "")
    found = load_settings()
    assert found.database == "postgresql://db/adwarm"
    assert found.compression.gzip_level == 0
    assert found.fatigue.weights == (0.4, 0.3, 0.3)
    assert found.freshness_rules.today == timedelta(hours=1.5)
    assert found.data_url is None


def test_the_file_is_read(toml: Path) -> None:
    """The TOML file sets what the environment does not, reports included."""
    found = load_settings()
    assert found.default_zone == "Asia/Tokyo"
    assert found.planning.min_confidence == 0.4
    assert found.spec("campaigns").level == "campaign"
    assert found.spec("campaigns").fields == ("account_id", "campaign_id", "spend")


def test_arguments_win_over_the_environment_and_that_over_the_file(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One variable overrides one setting of a section and no other."""
    monkeypatch.setenv("ADWARM_BATCH_SIZE", "8")
    monkeypatch.setenv("ADWARM_PLANNING__MIN_CONFIDENCE", "0.6")
    found = load_settings(default_zone="UTC")
    assert (found.default_zone, found.batch_size) == ("UTC", 8)
    assert (found.planning.min_confidence, found.planning.step_minutes) == (0.6, 30)


def test_a_missing_file_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typo in the path does not silently give the defaults."""
    monkeypatch.setenv("ADWARM_CONFIG", "/nowhere/adwarm.toml")
    with pytest.raises(BadRequest, match=r"ADWARM_CONFIG names '/nowhere/adwarm.toml', which is not a file"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ADWARM_BATCH_SIZE", "many", "integer"),
        ("ADWARM_WORKERS", "0", "greater than or equal to 1"),
        ("ADWARM_PLANNING__MIN_CONFIDENCE", "1.5", "less than 1"),
        ("ADWARM_COMPRESSION__CODEC", "lz4", "'zstd', 'gzip', 'brotli' or 'identity'"),
        ("ADWARM_DEFAULT_ZONE", "Mars/Olympus", "Europe/Berlin"),
        ("ADWARM_BACKPRESSURE__SHARES", "[0.5, 0.5, 0.5, 0.5]", "add up to 1"),
        ("ADWARM_SOURCE__TABLE", "ads; DROP TABLE entry", "pattern"),
        ("ADWARM_PLANNING__MIN_CONFIDENC", "0.3", "[Ee]xtra"),
    ],
)
def test_a_wrong_value_names_its_variable_and_the_reason(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    """The message names the variable to change and the reason."""
    monkeypatch.setenv(name, value)
    with pytest.raises(BadRequest, match=f"{name}: .*{reason}"):
        load_settings()


def test_no_secret_is_shown(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens appear neither in the text of the settings nor in messages about other values."""
    monkeypatch.setenv("ADWARM_SOURCE__ACCESS_TOKEN", "hush-token")
    monkeypatch.setenv("ADWARM_SOURCE__APP_SECRET", "hush-secret")
    found = load_settings()
    assert found.source.access_token is not None
    assert found.source.access_token.get_secret_value() == "hush-token"
    assert "hush" not in f"{found!r} {found} {found.model_dump_json()}"
    monkeypatch.setenv("ADWARM_SOURCE__PAGE_SIZE", "hush-page")
    monkeypatch.setenv("ADWARM_SOURCE__KIND", "hush-kind")
    with pytest.raises(BadRequest) as caught:
        load_settings()
    assert "ADWARM_SOURCE__PAGE_SIZE" in str(caught.value)
    assert "ADWARM_SOURCE__KIND" in str(caught.value)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_settings_are_immutable() -> None:
    """Assigning a setting is an error."""
    found = load_settings()
    with pytest.raises(ValidationError):
        found.batch_size = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        found.planning.step_minutes = 5  # type: ignore[misc]


def test_the_short_name_of_the_log_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ADWARM_ACCESS_LOG_URL` is the short form of the section's own `url`."""
    monkeypatch.setenv("ADWARM_ACCESS_LOG__URL", "long.parquet")
    assert load_settings().log_url == "long.parquet"
    monkeypatch.setenv("ADWARM_ACCESS_LOG_URL", "short.parquet")
    assert load_settings().log_url == "short.parquet"


def test_an_unknown_report_lists_the_configured_ones(toml: Path) -> None:
    """The message names the reports that exist."""
    with pytest.raises(BadRequest, match=r"'adz' is not configured; the reports are .*campaigns"):
        load_settings().spec("adz")


def test_every_setting_is_described_or_bounded_by_its_type() -> None:
    """Each section has a docstring for the reference."""
    for name, field in Settings.model_fields.items():
        section = field.annotation
        assert field.description or (isinstance(section, type) and section.__doc__) or name == "reports"


def test_further_reports_keep_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in report stays unless it is redefined."""
    built_in = load_settings().spec("default")
    monkeypatch.setenv("ADWARM_REPORTS__CAMP__LEVEL", "campaign")
    assert {name: found.level for name, found in load_settings().reports.items()} == {
        "default": "ad",
        "camp": "campaign",
    }
    assert load_settings().spec("default") == built_in
    monkeypatch.setenv("ADWARM_REPORTS__DEFAULT__LEVEL", "adset")
    assert load_settings().spec("default").level == "adset"
