"""The settings that read a log are written into a settings file, which keeps what else it holds."""

import tomllib
from pathlib import Path

import pytest

from adwarm.foundation.errors import BadRequest
from adwarm.log_check.saved_settings import save_settings
from adwarm.settings import AccessLogSettings, load_settings

LOG = AccessLogSettings(
    columns={"ts": "Datum Uhrzeit", 'a"\\': "ü\x7f\n"},
    where={"event": ("a", "b")},
    pattern=r"/(?P<account_id>\d+)/'\"(?P<date_range>.*)",
)


def test_a_file_gives_the_settings_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any text survives; the section is replaced, and comments and other sections stay."""
    path = tmp_path / "adwarm.toml"
    section = '[access_log]\nurl = "old"\n\n[access_log.columns]\nts = "t"\n'
    path.write_text(f'home = "/tmp/x"  # mine\n\n{section}\n[forecast]\nhistory_days = 30\n')
    for log in (LOG, AccessLogSettings(columns={"ts": "Datum Uhrzeit"}, where=LOG.where, pattern=LOG.pattern)):
        save_settings(path, log, str(tmp_path / "a.csv"))
        document = tomllib.loads(path.read_text())
        assert document["access_log"]["columns"] == dict(log.columns)
        assert (document["home"], document["forecast"]) == ("/tmp/x", {"history_days": 30})
        assert "# mine" in path.read_text()
    monkeypatch.setenv("ADWARM_CONFIG", str(path))
    settings = load_settings()
    assert settings.access_log == log.model_copy(update={"url": str(tmp_path / "a.csv")})


def test_a_password_is_not_written(tmp_path: Path) -> None:
    """A URL that holds one is left out."""
    save_settings(tmp_path / "a.toml", AccessLogSettings(), "https://user:secret@host/log.csv")
    assert "secret" not in (tmp_path / "a.toml").read_text()


def test_another_file_is_not_overwritten(tmp_path: Path) -> None:
    """What is no settings file, or cannot be changed without a change to the rest, stays as it is."""
    for text in ("notes [", 'access_log.url = "a"\n'):
        (tmp_path / "a.toml").write_text(text)
        with pytest.raises(BadRequest, match=r"a\.toml"):
            save_settings(tmp_path / "a.toml", LOG, "a.csv")
        assert (tmp_path / "a.toml").read_text() == text
