"""What commands share: how they print, also as JSON."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pytest
import typer
from rich.console import Console

from adwarm.cli import terminal
from adwarm.cli.app import app
from adwarm.cli.terminal import escape_controls, print_error, print_json, print_note, print_table
from adwarm.foundation.errors import AdwarmError
from adwarm.serving.api import server as api_server
from graph_simulator import server

from .conftest import Adwarm

PrintAt = Callable[..., list[str]]
"""Prints a table on a terminal of some width, and returns its lines."""
COLUMNS = ("name", "status", "schedule", "calls", "next run", "note")
ROW = ("default_dashboards", "enabled", "0 */6 * * * UTC", 1200, "due now", None)


@pytest.fixture
def print_at(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> PrintAt:
    """Return a function that prints a table on a terminal of some width, and returns its lines."""

    def print_at(width: int, title: str, columns: tuple[str, ...], *rows: tuple[object, ...]) -> list[str]:
        console = Console(width=width, force_terminal=True, color_system=None, markup=False, emoji=False)
        monkeypatch.setattr(terminal, "make_console", lambda: console)
        terminal.print_table(title, columns, rows)
        return capsys.readouterr().out.splitlines()

    return print_at


def test_a_title_is_one_line(print_at: PrintAt) -> None:
    """The title of a narrow table is not wrapped, a table without column names has no head, and cells have margins."""
    lines = print_at(80, "Now, and in the last 30 days", ("", ""), ("runs", 3))

    assert lines == ["Now, and in the last 30 days", "┌──────┬───┐", "│ runs │ 3 │", "└──────┴───┘"]


def test_a_table_that_does_not_fit_becomes_blocks(print_at: PrintAt) -> None:
    """On a wide terminal it is a table; on a narrow one each row is a block of the values that it has."""
    assert len(print_at(90, "Strategies", COLUMNS, ROW)) == 6
    assert print_at(50, "Strategies", COLUMNS, ROW, ROW)[:6] == [
        "Strategies",
        "default_dashboards",
        "  status    enabled",
        "  schedule  0 */6 * * * UTC",
        "  calls     1,200",
        "  next run  due now",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07\x1b[2Jad", "\\x1b]0;title\\x07\\x1b[2Jad"),
        ("act_\u202e321", "act_\\u202e321"),
        ("a\x9b31mb\x00c\rd", "a\\x9b31mb\\x00c\\rd"),
        ("Größe \u2013 日本 👩\u200d👩", "Größe \u2013 日本 👩\u200d👩"),
        ("one\ttwo\nthree", "one\ttwo\nthree"),
    ],
)
def test_names_cannot_control_the_terminal(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences and marks of direction in names of ads and files are shown as escapes; other text stays."""
    assert escape_controls(text) == shown
    print_table("ads", ("name", "clicks"), [(text, 1)])
    print_note(text)
    print_error(Console(stderr=True), AdwarmError(text), as_json=False)
    terminal = "".join(capsys.readouterr())
    assert not {"\x1b", "\x9b", "\x07", "\u202e"} & set(terminal)


def test_a_long_text_beside_many_columns_becomes_blocks(print_at: PrintAt) -> None:
    """A message that would take many short lines goes below its row, and goes on below its own begin."""
    columns, row = ("at", "source", "kind", "message"), ("2026-11-26", "meta", "TokenDead", "renew the token " * 20)
    assert print_at(400, "Errors", columns, row)[1].startswith("┏")
    lines = print_at(60, "Errors", columns, row)
    assert lines[1:4] == ["2026-11-26", "  source   meta", "  kind     TokenDead"]
    assert lines[4].startswith("  message  renew the token")
    assert all(line.startswith(" " * 11 + "") and not line[11:12].isspace() for line in lines[5:])


NAIVE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?")
NAME = re.compile(r"[a-z][a-z0-9_]*")
DATA_KEYS = {"reasons", "rows", "errors", "outcomes", "metrics", "time_zones"}
"""Fields whose value is a table by account, file or the like: its keys are data."""


def _commands(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if nested := getattr(command, "commands", None):
        for name, item in nested.items():
            yield from _commands((*words, name), item)
    else:
        yield words, command


COMMANDS = {" ".join(words): command for words, command in _commands((), typer.main.get_command(app))}


PARTS = 8
"""Tests that share the commands, so that none takes a second."""


def _required_words(command: Any) -> list[str]:
    """Return a plausible word for each required argument and option."""
    words: list[str] = []
    for param in command.params:
        if param.required:
            is_day = param.name in {"since", "until"}
            value = "2026-11-01" if is_day else "act_1" if "account" in param.name else "last_7d"
            words += [value] if param.param_type_name == "argument" else [param.opts[0], value]
    return words


def _problems(value: Any, path: str = "") -> Iterator[str]:
    """Yield what in a document breaks the rules: a name of another form, or a timestamp without an offset."""
    if isinstance(value, dict):
        for name, item in value.items():
            if path.rpartition(".")[2] not in DATA_KEYS and not NAME.fullmatch(name):
                yield f"{path}.{name}"
            yield from _problems(item, f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from _problems(item, path)
    elif isinstance(value, str) and NAIVE.fullmatch(value):
        yield f"{path} = {value}"


def test_every_command_has_the_flag() -> None:
    """`--json` is a flag without a value, with the same help everywhere."""
    for name, command in COMMANDS.items():
        (option,) = [param for param in command.params if "--json" in param.opts] or [None]
        assert option is not None, f"adwarm {name} has no --json"
        assert (option.is_flag, option.help) == (True, "Print one JSON document."), name


@pytest.mark.parametrize("part", range(3))
def test_wrong_usage_is_a_document_too(adwarm: Adwarm, part: int, subtests: pytest.Subtests) -> None:
    """An option that does not exist ends with 2, and standard output is the error."""
    for name in list(COMMANDS)[part::3]:
        with subtests.test(name):
            result = adwarm(*name.split(), "--json", "--no-such-option")
            assert (result.exit_code, set(result.json), result.json["kind"]) == (2, {"error", "kind"}, "UsageError")
            assert "--no-such-option" in result.json["error"]


@pytest.mark.parametrize("part", range(PARTS))
def test_standard_output_is_one_document(
    adwarm: Adwarm, part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    """In an empty home every command prints one document and nothing else, also when it fails."""
    monkeypatch.setattr(server, "run_forever", lambda config, host, port: None)
    monkeypatch.setattr(api_server, "run_server", lambda app, host, port, on_ready: on_ready(f"http://{host}:{port}"))
    monkeypatch.chdir(tmp_path)
    for name in list(COMMANDS)[part::PARTS]:
        with subtests.test(name):
            monkeypatch.setenv("ADWARM_HOME", str(tmp_path / name))
            words = [*name.split(), *_required_words(COMMANDS[name])]
            result = adwarm(*words, "--json")
            assert result.exit_code in {0, 1}
            assert list(_problems(result.json)) == []
            if isinstance(result.json, dict) and "error" in result.json and "kind" in result.json:
                assert result.exit_code == 1
                assert isinstance(result.json["error"], str)
                assert result.stderr == ""
            assert adwarm(*words).exit_code == result.exit_code


def test_workers_share_what_the_options_say(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them is built by a function that its process imports; the connections of all are announced."""
    started: list[object] = []

    def run_workers(build: str, workers: int, host: str, port: int, on_ready: Callable[[str], None]) -> None:
        started.extend((build, workers, host, port))
        on_ready(f"http://{host}:{port}")

    monkeypatch.setattr(api_server, "run_workers", run_workers)
    one = api_server.fit_connections()
    result = adwarm("serve", "--workers", "3", "--host", "127.0.0.2", "--port", "7", "--json")
    assert (result.exit_code, result.json["max_connections"]) == (0, 3 * one)
    assert started == ["adwarm.cli.serve:build_worker", 3, "127.0.0.2", 7]
    assert "counts in each" in adwarm("serve", "--workers", "3").stderr


def test_documents_with_data_obey_the_rules(adwarm: Adwarm, learn_forecast: Callable[[], None]) -> None:
    """Names and timestamps obey the rules also where there is something to show."""
    learn_forecast()
    results = [adwarm(*words.split(), "--json") for words in ("plan --at 2026-10-29T09:00:00", "status", "patterns")]
    assert [result.exit_code for result in results] == [0, 0, 0]
    assert [list(_problems(result.json)) for result in results] == [[], [], []]


def test_values_of_every_type(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Timestamps carry an offset whatever their type, one without a zone is UTC; unknown types become text."""
    moment = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
    print_json({
        "aware": moment,
        "naive": moment.replace(tzinfo=None),
        "pandas": pd.Timestamp(moment),
        "numpy": pd.Series([moment]).dt.tz_localize(None).to_numpy(),
        "day": date(2026, 11, 25),
        "other": [Decimal("1.5"), Path("/a")],
    })
    found = orjson.loads(capfdbinary.readouterr().out)
    assert {found[name] for name in ("aware", "naive", "pandas")} == {"2026-11-25T09:30:00+00:00"}
    assert found["numpy"] == ["2026-11-25T09:30:00+00:00"]
    assert (found["day"], found["other"]) == ("2026-11-25", ["1.5", "/a"])
