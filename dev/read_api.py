"""The read API of `make up`: the dashboard that it serves, and the token of the demo."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from dev.environment import ROOT

DASHBOARD = ROOT / "examples" / "dashboard"
_SOURCES = (DASHBOARD / "src", DASHBOARD / "public", ROOT / "clients" / "typescript" / "src")
_SOURCE_FILES = (DASHBOARD / "index.html", DASHBOARD / "package-lock.json", DASHBOARD / "vite.config.ts")
_TOKEN_NAME = "make up"


def build_dashboard() -> Path | None:
    """Return the folder of the built dashboard, built anew when its sources have changed; None when it cannot be.

    A build needs npm, and the packages that it downloads the first time. Without them an earlier build is returned.
    """
    built = DASHBOARD / "dist"
    if not _is_current(built) and shutil.which("npm"):
        subprocess.run(["make", "dashboard"], cwd=ROOT, check=False, capture_output=True)  # noqa: S607 -- our own target
    return built if (built / "index.html").is_file() else None


def _is_current(built: Path) -> bool:
    page = built / "index.html"
    if not page.is_file():
        return False
    sources = [*_SOURCE_FILES, *(path for folder in _SOURCES for path in folder.rglob("*") if path.is_file())]
    return max(path.stat().st_mtime for path in sources) <= page.stat().st_mtime


def get_or_create_token(home: Path, env: Mapping[str, str]) -> str | None:
    """Return the demo's token, made at the first start into a file that only its owner can read.

    Args:
        env: environment of the `adwarm` command; its database gets the token.

    Returns:
        The token; None when it could not be made.
    """
    path = token_file(home)
    if path.exists():
        return path.read_text(encoding="utf-8").strip()
    scopes = ["--scope", "read", "--scope", "enqueue", "--priority", "high"]
    done = subprocess.run(  # noqa: S603 -- our own command
        [sys.executable, "-m", "adwarm", "token", "create", _TOKEN_NAME, *scopes, "--json"],
        env=dict(env),
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        return None
    token: str = json.loads(done.stdout)["token"]
    path.touch(mode=0o600)
    path.write_text(f"{token}\n", encoding="utf-8")
    return token


def token_file(home: Path) -> Path:
    """Return the file of the demo's token."""
    return home / "read_api_token"
