"""The recorded commands in the pages of the runbook: finding, replacing and comparing them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNBOOK = ROOT / "docs/how-to/runbook"
SECTIONS = ("What you see", "What it means", "Look", "Mend", "Over when", "Prevent")
"""The sections of a page, in their order."""
_BLOCK = re.compile(r"<!-- rehearsed: (?P<step>[a-z-]+) -->\n```text\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"


@dataclass(frozen=True, slots=True)
class Transcript:
    """A command and what it printed.

    Attributes:
        step: its name in the page.
        command: as a user types it.
        output: its standard output and error.
    """

    step: str
    command: str
    output: str

    @property
    def text(self) -> str:
        """The block of the page: the command behind a prompt, and its output with narrow tables."""
        lines = [f"$ {self.command}", *map(_narrow, self.output.rstrip("\n").splitlines())]
        return "\n".join(line for line in lines if line is not None) + "\n"


def list_pages() -> list[Path]:
    """Return the pages of incidents."""
    return sorted(page for page in RUNBOOK.glob("*.md") if page.name != "index.md")


def read_steps(page: Path) -> dict[str, str]:
    """Return the recorded block of each step of a page, in order."""
    return {match["step"]: match["text"] for match in _BLOCK.finditer(page.read_text(encoding="utf-8"))}


def write_steps(page: Path, transcripts: list[Transcript]) -> None:
    """Replace the recorded blocks of a page."""
    texts = {item.step: item.text for item in transcripts}

    def replace(match: re.Match[str]) -> str:
        return f"<!-- rehearsed: {match['step']} -->\n```text\n{texts[match['step']]}```"

    page.write_text(_BLOCK.sub(replace, page.read_text(encoding="utf-8")), encoding="utf-8")


def normalize(text: str) -> list[str]:
    """Return the words of a block, sorted, without what differs from run to run.

    That is: numbers, times, hashes, paths, plurals, the order of rows, lines of progress, and where a table breaks a
    line.
    """
    text = re.sub(r"^\d+ of \d+ report.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"(?<=[\s\"'(:=])/[^\s\"',;:]+", "PATH", text)
    text = re.sub(r"\bA?[0-9a-f]{8,64}\b", "HASH", text)
    text = re.sub(rf"\b\d+ (?:{_MONTHS})\b|\b\d{{8}}T\d{{6,9}}Z\b", "TIME", text)
    text = re.sub(r"\d[\d,.:]*", "0", text)
    text = re.sub(r"[│┃]|-{8}", " ", text).replace("entries", "entry")
    return sorted(word.removesuffix("s") for word in text.split())


def _narrow(line: str) -> str:
    """Shorten the padding of a table's row and its rules, which are as wide as the longest value of the table."""
    if line and set(line) <= set("┌┬┐└┴┘├┼┤─┏┳┓┗┻┛┡╇┩━"):
        return "-" * 8
    return re.sub(r" {3,}", "  ", line).rstrip()
