"""`--json` means the same for every command. The commands come from the application, so a new one is tested too."""

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

from adwarm.cli.app import app
from adwarm.cli.output import print_json
from adwarm.serving.api import server as api_server
from graph_simulator import server

from .conftest import Adwarm

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
