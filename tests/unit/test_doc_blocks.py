"""The commands and programs in the documentation name what exists. `make test-docs` also runs them."""

import json
import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import typer

from adwarm.cli.app import app
from tests.docs.blocks import ALL_PAGES, REASONS, ROOT, SHELL, Block, find_blocks, find_pages_to_run

BLOCKS = [block for page in ALL_PAGES for block in find_blocks(page)]
SHELL_BLOCKS = [block for block in BLOCKS if block.is_shell]
INLINE = re.compile(r"`((?:adwarm|make|airflow) [^`]+)`")
_FENCED = re.compile(r"```.*?```", re.DOTALL)
DAGS = {path.stem for path in (ROOT / "dags").glob("adwarm_*.py")}
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
USAGE_ERROR: Any = typer.BadParameter.__base__
"""What the command line raises for anything that it cannot parse; typer exports only this subclass."""
AIRFLOW = {
    "backfill create": {
        "--dag-id",
        "--from-date",
        "--to-date",
        "--max-active-runs",
        "--reprocess-behavior",
        "--dry-run",
    },
    "dags test": {"--conf"},
    "standalone": set(),
}


def _commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each simple command of a shell block, without variables that are set before it."""
    joined = re.sub(r"\\\n", " ", text)
    lexer = shlex.shlex(re.sub(r"(^|\s)#.*$", "", joined, flags=re.MULTILINE), posix=True, punctuation_chars=";&|()\n")
    lexer.whitespace_split, lexer.commenters, lexer.whitespace = True, "", " \t"
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set(";&|()\n"):
            while words and re.match(r"[A-Z_]+=", words[0]):
                words.pop(0)
            if words:
                yield words
            words = []
        else:
            words.append(word)


@cache
def _command_line() -> Any:
    return typer.main.get_command(app)


def _check_adwarm(words: list[str]) -> None:
    """Parse the words as the command line does; nothing is run.

    Raises:
        UsageError: the command or an option does not exist, or an argument lacks.
    """
    command = _command_line()
    name, rest = "adwarm", words[1:]
    while hasattr(command, "commands"):
        context = command.make_context(name, list(rest), resilient_parsing=not rest)
        if command.invoke_without_command and not context._protected_args and not context.args:
            return
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context(name, list(rest))


def _fault(words: list[str]) -> str | None:
    """Return what a command names that does not exist."""
    program, *rest = words
    if program == "adwarm":
        try:
            _check_adwarm(words)
        except USAGE_ERROR as error:
            return f"{shlex.join(words)}: {error.format_message()}"
    if program == "make" and (unknown := [word for word in rest if "=" not in word and word not in TARGETS]):
        return f"no target {unknown}"
    if program == "airflow":
        known = next((options for name, options in AIRFLOW.items() if rest[:2] == name.split()), None)
        used = {word for word in rest if word.startswith("--")}
        if known is None or used - known:
            return f"unknown to this test: {shlex.join(words)}"
        if "--dag-id" in rest and rest[rest.index("--dag-id") + 1] not in DAGS:
            return f"no DAG {rest[rest.index('--dag-id') + 1]}"
    return None


def _shell_faults(blocks: Iterable[Block]) -> str:
    """Return what bash says of blocks that it cannot parse, with the page and the line of each."""
    functions = "".join(f"f() {{\n{block.text.strip()}\n}}\n" for block in blocks)
    if subprocess.run(["bash", "-n"], input=functions, text=True, capture_output=True, check=False).returncode == 0:
        return ""
    checked = {
        str(block): subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True, check=False)
        for block in blocks
    }
    return "\n".join(f"{place}: {done.stderr}" for place, done in checked.items() if done.returncode) or functions


def test_blocks_are_shell() -> None:
    """bash parses each block of commands; a block that it cannot parse is named."""
    good, bad = Block("a.md", 1, "bash", "make x\n", None), Block("a.md", 9, "bash", "if true; make x\n", None)

    assert "a.md:9: " in _shell_faults([good, bad])
    assert "a.md:1: " not in _shell_faults([good, bad])
    assert _shell_faults(SHELL_BLOCKS) == ""


def test_commands_in_blocks_exist() -> None:
    """Each command parses: its options, its arguments, its make target, its DAG; each file of the repository exists."""
    commands = {str(block): list(_commands(block.text)) for block in SHELL_BLOCKS}
    faults = [f"{place}: {fault}" for place, found in commands.items() for words in found if (fault := _fault(words))]
    paths = [
        (place, word)
        for place, found in commands.items()
        for words in found
        for word in words
        if re.match(r"(examples|dags|docs|include|tests)/", word)
    ]

    assert [place for place, found in commands.items() if not found] == []
    assert faults == []
    assert [f"{place}: {path}" for place, path in paths if not (ROOT / path).exists()] == []


def _has_fault(text: str) -> bool:
    """Whether a command in a sentence names a target, a command or an option that does not exist."""
    words = text.split()
    if words[0] == "make":
        return any(word not in TARGETS for word in words[1:2])
    if words[0] != "adwarm":
        return False
    command, rest = _command_line(), words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    options = {option for param in command.params for option in (*param.opts, *param.secondary_opts)} | {"--help"}
    is_unknown = hasattr(command, "commands") and any(not word.startswith("-") and word.islower() for word in rest[:1])
    return is_unknown or not {word.split("=")[0] for word in rest if word.startswith("--")} <= options


def test_commands_in_sentences_exist() -> None:
    """A command between code marks exists, and so do the options that it is shown with."""
    texts = {page: page.read_text(encoding="utf-8") for page in ALL_PAGES}
    prose = {page: _FENCED.sub(lambda block: "\n" * block[0].count("\n"), text) for page, text in texts.items()}
    found = [
        (f"{page.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}", match[1])
        for page, text in prose.items()
        for match in INLINE.finditer(text)
    ]

    assert len(found) > 100
    assert [f"{place}: {text}" for place, text in found if _has_fault(text)] == []


def test_a_block_is_left_out_for_a_reason() -> None:
    """A block that is not run says why, from a short list, and contains what the reason speaks of."""
    left_out = [block for block in BLOCKS if block.reason is not None]
    marks = sum(
        len(re.findall(r"^ *<!-- not run:", page.read_text(encoding="utf-8"), re.MULTILINE)) for page in ALL_PAGES
    )

    assert [str(block) for block in left_out if not re.search(REASONS.get(block.reason or "", "$^"), block.text)] == []
    assert len(left_out) == marks, "a mark stands right above its block"


def test_most_blocks_are_run() -> None:
    """The pages with commands have blocks that run, and none holds a path that is only an example."""
    blocks = [block for page in find_pages_to_run() for block in find_blocks(page) if block.is_shell]
    run = [block for block in blocks if block.reason is None]

    assert len(run) >= len(blocks) / 2
    assert [str(block) for block in run if "/path/to" in block.text] == []


def test_a_wrong_command_is_found() -> None:
    """An option, an argument, a command, a target and a DAG that do not exist are each named, also in a sentence."""
    wrong = ["adwarm plan --nowhere", "adwarm dance", "make tea"]
    only_in_blocks = ["adwarm get act_1", "airflow backfill create --dag-id adwarm_nothing"]

    assert [text for text in (*wrong, *only_in_blocks) if not any(map(_fault, _commands(f"{text}\n")))] == []
    assert [text for text in wrong if not _has_fault(text)] == []


def test_a_command_line_is_split_as_a_shell_does() -> None:
    """Comments, quotes, continuations, pipes and variables before a command do not hide it."""
    text = 'A=1 adwarm plan \\\n  --at "a b" | head -3 # a comment; make tea\nsource x && make up &\n'

    assert list(_commands(text)) == [
        ["adwarm", "plan", "--at", "a b"], ["head", "-3"], ["source", "x"], ["make", "up"],
    ]  # fmt: skip


def test_json_is_json() -> None:
    """Every JSON example parses."""
    faults = []
    for block in BLOCKS:
        if block.language == "json":
            try:
                json.loads(block.text)
            except ValueError as error:
                faults.append(f"{block}: {error}")

    assert faults == []


def test_every_fence_names_its_language() -> None:
    """A block without a language would be neither checked nor run."""
    known = {*SHELL, "python", "json", "toml", "text", "sql", "nginx", "pycon", "ts", "tsx", "yaml", "mermaid"}

    assert [str(block) for block in BLOCKS if block.language not in known] == []
