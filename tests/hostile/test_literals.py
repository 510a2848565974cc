"""Names of ads that are formulas, templates, markup or escape sequences stay what they are, everywhere."""

import csv
import io
from collections.abc import Iterator

import httpx
import orjson
import pyarrow as pa
import pytest

from adwarm.charts import load_templates
from adwarm.cli.terminal import print_table
from adwarm.model import AccessToken, Priority, ReportKey, TokenScope
from adwarm.prefetch import KeyRequest
from adwarm.read_api import build_read_api
from adwarm.runtime import Runtime
from adwarm.serving.api.server import serve_in_thread
from adwarm.serving.tokens import make_token
from adwarm.settings import Settings
from adwarm.store import access_tokens
from tests.hostile.behaviors import Behavior, _rows
from tests.hostile.hostile_text import FORMULAS, MARKUP, SHELL, SQL, TEMPLATES
from tests.hostile.rows import Row
from tests.hostile.server import HostileServer, UnconfiguredServer

NAMES = (*FORMULAS, *TEMPLATES, *MARKUP, *SQL, *SHELL, "\x1b]0;title\x07", "\u202egnp.exe", 'a","b\r\nc,"')
ACCOUNT = "act_1001"
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def _named(rows: list[Row]) -> list[Row]:
    """Return the rows of each day once for each name."""
    first = {row["date_start"] + row["date_stop"]: row for row in rows}
    return [
        {**row, "ad_name": name, "ad_id": f"{row['ad_id'][:-3]}{number:03d}"}
        for row in first.values()
        for number, name in enumerate(NAMES, 1)
    ]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client of the read API after a warming run over an account whose ads have these names."""
    home = tmp_path_factory.mktemp("literals")
    behavior = Behavior("names", "ads with hostile names", _rows(_named))
    with UnconfiguredServer() as elsewhere, HostileServer({ACCOUNT: behavior}, elsewhere) as upstream:
        settings = Settings(home=home, source={"graph_url": upstream.url, "access_token": "test-token-of-names"})
        runtime = Runtime(settings)
        request = KeyRequest(ReportKey(ACCOUNT, "last_7d"))
        result = runtime.prefetch_engine().run([request], Priority.LOW, wait_seconds=0)
    assert result.outcomes[0].status.is_served, result.outcomes
    token = make_token()
    stored = AccessToken(id=token.id, name="x", scopes=frozenset(TokenScope), created_at=runtime.clock.now())
    access_tokens.insert_token(runtime.engine, stored, token.secret_hash)
    headers = {"Authorization": f"Bearer {token.text}"}
    with serve_in_thread(build_read_api(runtime)) as url, httpx.Client(base_url=url, headers=headers) as client:
        yield client


def _get(api: httpx.Client, shape: str) -> httpx.Response:
    answer = api.get(f"/v1/insights/{ACCOUNT}/last_7d", params={"shape": shape})
    assert answer.status_code == 200, answer.text
    return answer


def test_json_and_arrow_hold_the_names_as_they_are(api: httpx.Client) -> None:
    """Columns, rows, lines and Arrow return each name byte for byte."""
    columnar = _get(api, "columnar").json()["daily"]
    assert set(columnar["columns"]["ad_name"]) == set(NAMES)
    assert {row["ad_name"] for row in _get(api, "rows").json()["daily"]} == set(NAMES)
    lines = _get(api, "ndjson").content.splitlines()
    assert {orjson.loads(line)["ad_name"] for line in lines} == set(NAMES)
    table = pa.ipc.open_stream(_get(api, "arrow").content).read_all()
    assert set(table.column("ad_name").to_pylist()) == set(NAMES)


def test_no_cell_of_the_csv_is_a_formula(api: httpx.Client) -> None:
    """CSV marks a text that a spreadsheet would run with an apostrophe; without it, each name is as it was."""
    rows = list(csv.DictReader(io.StringIO(_get(api, "csv").text, newline="")))
    cells = {row["ad_name"] for row in rows}
    assert not [cell for cell in cells if cell.startswith(FORMULA_STARTS)]
    assert {cell.removeprefix("'") for cell in cells} == set(NAMES)
    unmarked = {name for name in NAMES if not name.lstrip().startswith(FORMULA_STARTS) and name in cells}
    assert unmarked >= {*TEMPLATES, *MARKUP}, "what is no formula is unchanged"


def test_pages_escape_every_value() -> None:
    """A page made of hostile values has no element and no attribute of theirs, and renders no template of theirs."""
    from html.parser import HTMLParser

    class Elements(HTMLParser):
        """Collects the names of elements."""

        def __init__(self) -> None:
            super().__init__()
            self.names: list[str] = []
            self.text = ""

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            """Keep the name."""
            self.names.append(tag)

        def handle_data(self, data: str) -> None:
            """Keep the text."""
            self.text += data

    template = load_templates("adwarm.replay").from_string('<p title="{{ value }}">{{ value }}</p>')
    for name in NAMES:
        page = Elements()
        page.feed(template.render(value=name))
        page.close()
        assert page.names == ["p"]
        assert page.text.replace("\r\n", "\n") == name.replace("\r\n", "\n")


def test_tables_of_commands_show_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    """A table on a terminal holds no escape sequence and no mark of direction of a name."""
    print_table("ads", ("name", "account"), [(name, ACCOUNT) for name in NAMES])
    output = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\u202e"} & set(output)
    assert "{{ 7*7 }}" in output
