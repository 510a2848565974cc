"""The secrets among settings and environment variables are hidden in every text."""

import json

import pytest

from adwarm.foundation.redaction import REGISTRY, redact
from adwarm.settings import Settings, load_settings
from adwarm.settings.credentials import register_environment

SECRETS = {
    "ADWARM_DATABASE_URL": ("postgresql://u:db%40pass-1@host/x", "db@pass-1"),
    "ADWARM_DATA_URL": ("s3://key:data-pass-2@bucket/x", "data-pass-2"),
    "ADWARM_ACCESS_LOG__URL": ("sftp://u:log-pass-3@host/x", "log-pass-3"),
    "ADWARM_SOURCE__ACCESS_TOKEN": ("source-token-4", "source-token-4"),
    "ADWARM_SOURCE__APP_SECRET": ("app-secret-5", "app-secret-5"),
    "ADWARM_CONNECTIONS": ('{"b": {"kind": "sql", "url": "mysql://u:sql-pass-6@h/d"}}', "sql-pass-6"),
    "ADWARM_ALERTS__CHANNELS": (
        '[{"type": "apprise", "name": "chat", "url": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/"}]',
        "TIiajkdnlazkcOXrIdevi7FQ",
    ),
    "AWS_SECRET_ACCESS_KEY": ("aws/secret+key-9", "aws/secret+key-9"),
    "AZURE_STORAGE_CONNECTION_STRING": ("AccountKey=azure-10==;x", "AccountKey=azure-10==;x"),
    "FSSPEC_S3": ('{"key": "public-id", "secret": "fsspec-secret-11", "endpoint_url": "http://h"}', "fsspec-secret-11"),
}


def test_every_setting_with_a_secret_registers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens, passwords in URLs, tokens in Apprise URLs, and what fsspec and cloud libraries read by themselves."""
    for name, (value, _) in SECRETS.items():
        monkeypatch.setenv(name, value)
    load_settings()
    for name, (_, secret) in SECRETS.items():
        assert secret in REGISTRY.list(), name
        assert secret not in redact(f"upstream said <{secret}>")


def test_values_that_are_no_secret_are_not_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders, hosts, regions and options stay readable."""
    values = {
        "AWS_REGION": "eu-central-1",
        "GOOGLE_APPLICATION_CREDENTIALS": "/etc/key.json",
        "FSSPEC_S3": json.dumps({"endpoint_url": "http://minio.example:9000", "anon": False}),
        "FSSPEC_FILE": "{not json",
        "HOME": "/root/of/somebody",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    Settings(database_url="postgresql://adwarm@host/x", data_url="s3://bucket/prefix")
    assert REGISTRY.list() == ()


def test_a_secrets_hook_registers_what_it_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values from a vault are settings like all others."""
    monkeypatch.setenv("ADWARM_SECRETS_HOOK", "tests.unit.settings.test_credentials:vault")
    monkeypatch.setattr("adwarm.settings.call_secrets_hook", lambda name, variable: vault())
    load_settings()
    assert {"vault-token-1", "vault-pass-2"} <= set(REGISTRY.list())


def vault() -> dict[str, object]:
    """Return settings as a vault would."""
    return {"source": {"access_token": "vault-token-1"}, "database_url": "postgresql://u:vault-pass-2@h/x"}


def test_options_that_are_no_object_are_ignored() -> None:
    """A variable of another program does not stop this one."""
    register_environment({"FSSPEC_S3": "{broken", "AWS_SECRET_ACCESS_KEY": "", "PGPASSWORD": "pg-password-3"})
    assert REGISTRY.list() == ("pg-password-3",)
