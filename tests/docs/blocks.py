"""The code blocks of the documentation, and why one is not run."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ALL_PAGES = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples/README.md")
SHELL = ("bash", "console", "sh", "shell")
REASONS = {
    "needs a clone": r"\bmake sizing\b",
    "needs Docker": r"\bdocker\b",
    "needs a cluster": r"\b(kubectl|helm)\b",
    "needs the Airflow of make up": r"\bmake (up|down)\b|\.adwarm/up/env",
    "needs a log of your own": r"/var/log/",
    "needs a database of your own": r"postgresql://",
    "needs a bucket of your own": r"s3://",
    "needs stored days of your own": r"\$FOLDER\b",
    "needs a connection": r"\badwarm (backfill run|accounts token)\b",
    "needs the read API": r"\badwarm serve\b|\$API\b|\bClient\(",
    "needs Node.js": r"\bnpm\b|\bmake dashboard\b",
    "needs a package index": r"\bpip install\b",
    "needs a Superset": r"examples/superset|superset\.db",
    "needs stored scores": r"\badwarm fatigue act_1\b",
    "needs a stored review": r"\badwarm review newest\b",
    "runs for minutes": r"\bmake (test|bench|lint|docs)\b",
}
"""Why a block is not run, each with what such a block contains, so that no reason can hide another one."""

_BLOCK = re.compile(
    r"(?:^[ ]*<!-- not run: (?P<reason>[^>]*?) -->[ ]*\n(?:[ ]*\n)?)?"
    r"^(?P<indent>[ ]*)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: the page's path below the repository.
        line: number of its first line of code.
        language: the word after the fence.
        text: the code.
        reason: why it is not run; None when it is.
    """

    page: str
    line: int
    language: str
    text: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_shell(self) -> bool:
        """Whether it holds commands."""
        return self.language in SHELL

    @property
    def file_name(self) -> str | None:
        """The file that a block of Python is to be saved as: the first comment names it."""
        match = re.match(r"# (\w+\.py)\b", self.text)
        return match.group(1) if match and self.language == "python" else None


def find_blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        code = textwrap.dedent(match["text"])
        yield Block(page.relative_to(ROOT).as_posix(), line, match["language"], code, match["reason"])


def find_pages_to_run() -> list[Path]:
    """Return the pages that have commands or Python; the examples of the API's page run in a test of their own."""
    api = ROOT / "docs/reference/api.md"
    kinds = {*SHELL, "python"}
    return [page for page in ALL_PAGES if page != api and any(block.language in kinds for block in find_blocks(page))]
