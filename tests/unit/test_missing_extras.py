"""Without the packages of an extra nothing breaks at import, and what needs them says what to install."""

import importlib.util
import re
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

import adwarm
from adwarm.cli.schedule_checks import check_read_api
from adwarm.foundation import tracing
from adwarm.foundation.errors import BadRequest
from adwarm.recovery.channels import AppriseSender
from adwarm.recovery.messages import Message
from adwarm.serving import api
from adwarm.serving.api import connections
from adwarm.settings.recovery_sections import AppriseChannel
from adwarm.store import database, open_engine
from adwarm_client import mcp_script
from adwarm_client.column_table import ColumnTable
from adwarm_client.report_fields import to_frame


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes packages look as if they were not installed."""

    def hide(*names: str) -> None:
        def find(name: str, package: str | None = None) -> ModuleSpec | None:
            return None if name in names else importlib.util.find_spec(name, package)

        for module in (tracing, database):
            monkeypatch.setattr(module, "find_spec", find)

    tracing.has_extra.cache_clear()
    yield hide
    tracing.has_extra.cache_clear()


def test_postgresql_needs_the_extra_postgres(without: Any) -> None:
    """The error names the extra before any connection is tried."""
    without("psycopg2")
    with pytest.raises(BadRequest, match=r"adwarm\[postgres\]") as caught:
        open_engine("postgresql://reader:secret-4711@127.0.0.1:1/absent-driver")
    assert "secret-4711" not in str(caught.value)


def test_spans_need_the_extra_otel(without: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, also without the package above it, nothing is instrumented, and nothing fails."""
    without("opentelemetry.instrumentation.requests")
    monkeypatch.setattr(tracing, "is_recording", lambda: True)
    assert tracing.instrument() is False
    assert tracing._is_installed("no_such_package.module") is False


def test_limits_of_the_read_api_need_the_extra_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without httptools the read API is served without them, and the doctor names the extra and the proxy."""
    monkeypatch.setitem(sys.modules, "uvicorn.protocols.http.httptools_impl", None)
    monkeypatch.setattr(api, "connections", connections)  # restored after the test
    monkeypatch.delitem(sys.modules, connections.__name__)
    runtime: Any = SimpleNamespace(settings=SimpleNamespace(serving=SimpleNamespace(host="127.0.0.1", port=1)))
    finding = check_read_api(runtime)
    assert finding.warning
    assert "run pip install 'adwarm[serve]', or let a proxy in front set them" in str(finding)


def test_a_channel_of_apprise_needs_the_extra_alerts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Apprise the check of the doctor and a message are errors that name the extra, and nothing of the URL."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    channel = AppriseSender(AppriseChannel(name="chat", url=SecretStr("json://secret-4711@127.0.0.1:1/")))
    for use in (channel.check, lambda: channel.send(Message("title", "text", "Transient"))):
        with pytest.raises(BadRequest, match=r"adwarm\[alerts\]") as caught:
            use()
        assert "secret-4711" not in str(caught.value)


def test_a_frame_needs_the_extra_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pandas the error of the client names the extra."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"adwarm-client\[frame\]"):
        to_frame(ColumnTable(0, {}))


def test_tools_for_assistants_need_the_extra_mcp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package the script names the extra, before it reads anything."""
    monkeypatch.setattr(mcp_script, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"adwarm-client\[mcp\]"):
        mcp_script.main()


def test_optional_packages_are_imported_inside_functions() -> None:
    """No module of the product imports a driver, a cloud's client or uvloop when it is itself imported."""
    top_level = re.compile(r"^(?:from|import) (?:apprise|psycopg2|s3fs|gcsfs|uvloop)\b", re.MULTILINE)
    package = Path(adwarm.__file__).parent
    sources = [path for path in package.rglob("*.py") if top_level.search(path.read_text(encoding="utf-8"))]
    assert [path.relative_to(package).as_posix() for path in sources] == []


@pytest.mark.slow
def test_importing_the_product_imports_no_optional_package() -> None:
    """Neither do the packages that it imports: a fresh process has none of them after the imports."""
    code = (
        "import sys, adwarm.replay.replay_page, adwarm.store, adwarm.runtime;"
        "print([name for name in ('apprise', 'psycopg2', 's3fs', 'gcsfs', 'uvloop') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
