"""Settings: sources and their precedence, invalid values, and no secret in any message."""

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from adwarm.foundation.errors import BadRequest
from adwarm.model.breakdowns import HOURLY
from adwarm.model.keys import DEFAULT_FIELDS
from adwarm.runtime import Runtime
from adwarm.settings import NAMES, OTHER_VARIABLES, Settings, home_choice, load_settings

ROOT = Path(__file__).resolve().parents[2]

TOML = """
default_zone = "Asia/Tokyo"
max_batches = 7

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


def test_defaults_need_no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any variable the defaults work, and everything is in one folder that the working folder does not move."""
    found = load_settings()
    monkeypatch.chdir(tmp_path)
    assert found.home == load_settings().home == home_choice().path
    assert found.database == f"sqlite:///{found.home}/adwarm.db"
    assert found.data == str(found.home / "data")
    assert found.access_log.url is None
    assert found.step == timedelta(minutes=15)
    assert found.freshness_rules.today == timedelta(hours=3)


def test_the_environment_reaches_every_section(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two underscores separate nested names; lists are JSON; an empty value counts as unset."""
    monkeypatch.setenv("ADWARM_DATABASE_URL", "postgresql://db/adwarm")
    monkeypatch.setenv("ADWARM_COMPRESSION__CODEC", "gzip")
    monkeypatch.setenv("ADWARM_COMPRESSION__LEVEL", "0")
    monkeypatch.setenv("ADWARM_FATIGUE__WEIGHTS", "[0.4, 0.3, 0.3]")
    monkeypatch.setenv("ADWARM_FRESHNESS__TODAY_HOURS", "1.5")
    monkeypatch.setenv("ADWARM_DATA_URL", "")
    found = load_settings()
    assert found.database == "postgresql://db/adwarm"
    assert found.compression.get_level("gzip") == 0
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
    monkeypatch.setenv("ADWARM_MAX_BATCHES", "8")
    monkeypatch.setenv("ADWARM_PLANNING__MIN_CONFIDENCE", "0.6")
    found = load_settings(default_zone="UTC")
    assert (found.default_zone, found.max_batches) == ("UTC", 8)
    assert (found.planning.min_confidence, found.planning.step_minutes) == (0.6, 30)


def test_a_missing_file_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typo in the path does not silently give the defaults."""
    monkeypatch.setenv("ADWARM_CONFIG", "/nowhere/adwarm.toml")
    with pytest.raises(BadRequest, match=r"ADWARM_CONFIG names '/nowhere/adwarm.toml', which is not a file"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ADWARM_MAX_BATCHES", "many", "integer"),
        ("ADWARM_WORKERS", "0", "greater than or equal to 1"),
        ("ADWARM_PLANNING__MIN_CONFIDENCE", "1.5", "less than 1"),
        ("ADWARM_COMPRESSION__CODEC", "lz4", "'zstd', 'gzip', 'brotli' or 'identity'"),
        ("ADWARM_COMPRESSION__LEVEL", "20", "levels of zstd are 1 to 19"),
        ("ADWARM_DEFAULT_ZONE", "Mars/Olympus", "Europe/Berlin"),
        ("ADWARM_BACKPRESSURE__SHARES", "[0.5, 0.5, 0.5, 0.5]", "add up to 1"),
        ("ADWARM_SERVING__CORS_ORIGINS", '["https://dash.example.com/"]', "without a path"),
        ("ADWARM_SOURCE__TABLE", "ads; DROP TABLE entry", "pattern"),
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
    monkeypatch.setenv("ADWARM_SOURCE__CALL_TIMEOUT", "hush-page")
    monkeypatch.setenv("ADWARM_SOURCE__KIND", "hush kind")
    with pytest.raises(BadRequest) as caught:
        load_settings()
    assert "ADWARM_SOURCE__CALL_TIMEOUT" in str(caught.value)
    assert "ADWARM_SOURCE__KIND" in str(caught.value)
    assert "hush" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_settings_are_immutable() -> None:
    """Assigning a setting is an error."""
    found = load_settings()
    with pytest.raises(ValidationError):
        found.max_batches = 3  # type: ignore[misc]
    with pytest.raises(ValidationError):
        found.planning.step_minutes = 5  # type: ignore[misc]


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


def test_breakdowns_that_the_platform_does_not_combine_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the setting and what is allowed; the report that ads are scored by has none."""
    monkeypatch.setenv("ADWARM_REPORTS__PLACES__BREAKDOWNS", '["publisher_platform", "platform_position"]')
    monkeypatch.setenv("ADWARM_REPORTS__PLACES__ACTION_BREAKDOWNS", '["action_device"]')
    spec = load_settings().spec("places")
    assert spec.identity == ("ad_id", "platform_position", "publisher_platform")
    assert (spec.action_breakdowns, spec.fields) == (("action_device",), DEFAULT_FIELDS)
    monkeypatch.setenv("ADWARM_REPORTS__HOURS__BREAKDOWNS", f'["{HOURLY}"]')
    assert set(DEFAULT_FIELDS) - set(load_settings().spec("hours").fields) == {"reach", "frequency"}
    for name, value, words in (
        ("HOURS__FIELDS", '["spend", "reach"]', "does not count reach by the hour"),
        (
            "PLACES__BREAKDOWNS",
            '["platform_position"]',
            "publisher_platform \\+ platform_position; ",
        ),
        ("PLACES__BREAKDOWNS", '["shoe_size"]', "adwarm has no reports by shoe_size"),
        ("HOURS__BREAKDOWNS", '["age", "age"]', "adwarm has no reports by age \\+ age"),
        ("DEFAULT__BREAKDOWNS", '["age"]', "`default` has no breakdowns, because ads are scored by it"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(f"ADWARM_REPORTS__{name}", value)
            with pytest.raises(BadRequest, match=f"ADWARM_REPORTS.*{words}"):
                load_settings()


def test_the_home_is_in_airflows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's processes and the commands beside them share `$AIRFLOW_HOME/adwarm`."""
    monkeypatch.setenv("AIRFLOW_HOME", "/opt/airflow")
    assert load_settings().database == "sqlite:////opt/airflow/adwarm/adwarm.db"


def test_a_relative_home_is_absolute_and_warned_of_once(tmp_path: Path) -> None:
    """Standard error names the folder that the process uses, once; an argument needs no warning."""
    script = "from adwarm import load_settings as load; print(*(s.home for s in (load(), load(), load(home='there'))))"
    done = _run(script, tmp_path, ADWARM_HOME="here")
    assert done.stdout.split() == [str(tmp_path / "here"), str(tmp_path / "here"), str(tmp_path / "there")]
    assert done.stderr == f"the home set by ADWARM_HOME is relative; this process uses {tmp_path / 'here'}\n"


def _run(script: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": "", "PYTHONPATH": str(ROOT / "include"), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )


def test_the_working_folder_stays_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that starts in a folder it may not write to, as Airflow's may in `/`, keeps its data in the home."""
    monkeypatch.chdir("/")
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    assert Runtime().engine.url.database == str(tmp_path / "adwarm" / "adwarm.db")
    assert (tmp_path / "adwarm").stat().st_mode & 0o777 == 0o700
    assert not Path("/.adwarm").exists()


def test_a_misspelled_name_is_refused_wherever_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables and keys of the file, on top and in sections, with the names that were probably meant, all at once."""
    (tmp_path / "adwarm.toml").write_text("workrs = 3\n[planing]\nstep_minutes = 5\n", encoding="utf-8")
    monkeypatch.setenv("ADWARM_CONFIG", str(tmp_path / "adwarm.toml"))
    misspelled = ("ADWARM_DATABSE_URL", "ADWARM_SOURCE_ACCESS_TOKEN", "ADWARM_ACCESS_LOG_URL")
    for name in (*misspelled, "ADWARM_PLANNING__MIN_CONFIDENC"):
        monkeypatch.setenv(name, "hush")
    with pytest.raises(BadRequest) as caught:
        load_settings()
    meant = re.findall(r"(\w+) is not a setting; did you mean (\w+)\?", str(caught.value))
    assert dict(meant) == {
        "ADWARM_DATABSE_URL": "ADWARM_DATABASE_URL",
        "ADWARM_SOURCE_ACCESS_TOKEN": "ADWARM_SOURCE__ACCESS_TOKEN",
        "ADWARM_ACCESS_LOG_URL": "ADWARM_ACCESS_LOG__URL",
        "ADWARM_PLANNING__MIN_CONFIDENC": "ADWARM_PLANNING__MIN_CONFIDENCE",
        "ADWARM_WORKRS": "ADWARM_WORKERS",
        "ADWARM_PLANING": "ADWARM_PLANNING",
    }
    assert "hush" not in str(caught.value)


def test_a_file_that_is_not_toml_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the file and the line."""
    (tmp_path / "adwarm.toml").write_text("workers = 3\nhome = \n", encoding="utf-8")
    monkeypatch.setenv("ADWARM_CONFIG", str(tmp_path / "adwarm.toml"))
    with pytest.raises(BadRequest, match=r"adwarm.toml', which is not TOML: .* line 2"):
        load_settings()


def test_every_name_in_the_repository_is_known() -> None:
    """Scripts, containers and the local stack use no name that would be refused."""
    folders = ("dags", "plugins", "dev", "config", "examples", "clients/python")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    files = [path for path in files if not {"node_modules", "dist"} & set(path.parts)]
    files += [ROOT / name for name in ("Makefile", "Dockerfile", "docker-compose.yaml", ".env.example")]
    texts = [path.read_text(encoding="utf-8") for path in files if path.suffix not in {".parquet", ".pyc", ".png"}]
    used = {name for text in texts for name in re.findall(r"\bADWARM_[A-Z0-9_]*[A-Z0-9]\b", text)}
    sections = {name.rpartition("__")[0] for name in NAMES}
    assert len(used) > len(OTHER_VARIABLES)
    assert NAMES.find_unknown(dict.fromkeys(used - sections, "1")) == []
    assert set(OTHER_VARIABLES) - {"ADWARM_CONFIG"} <= used


def test_secrets_come_from_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What neither the environment nor the file sets may come from the user's own function."""
    (tmp_path / "my_vault.py").write_text(
        "def read():\n    return {'source': {'access_token': 'from-vault', 'app_id': '7'}, 'max_batches': 9}\n"
        "def fail():\n    raise ValueError('hvs.secret-of-the-vault')\n"
        "def nothing():\n    return None\n"
        "def misspelled():\n    return {'sauce': {}}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ADWARM_SECRETS_HOOK", "my_vault:read")
    monkeypatch.setenv("ADWARM_SOURCE__APP_ID", "8")

    settings = load_settings()
    token = settings.source.access_token
    assert token is not None
    assert (token.get_secret_value(), settings.source.app_id, settings.max_batches) == ("from-vault", "8", 9)
    for name, words in {
        "my_vault:fail": "ValueError",
        "my_vault:nothing": "no mapping",
        "my_vault:absent": "AttributeError",
        "no_such_module:read": "ModuleNotFoundError",
        "my_vault:misspelled": "ADWARM_SAUCE is not a setting",
    }.items():
        monkeypatch.setenv("ADWARM_SECRETS_HOOK", name)
        with pytest.raises(BadRequest, match=words) as refused:
            load_settings()
        assert "secret-of-the-vault" not in str(refused.value)
    del sys.modules["my_vault"]
