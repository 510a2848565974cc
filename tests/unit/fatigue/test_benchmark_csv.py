"""The loader of one's own ads: forms it understands, and what it says about a file that it does not."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.benchmarks.fatigue import own_rows, report_own_ads
from tests.benchmarks.fatigue_csv import BadCsv, OwnAds, read_own_ads

PLAIN = """account_id,ad_id,date_start,impressions,clicks,spend
act_1,7,2026-01-05,1000,12,5.50
act_1,7,2026-01-07,900,9,4
"""


def _read(folder: Path, text: str, encoding: str = "utf-8") -> OwnAds:
    path = folder / "ads.csv"
    path.write_bytes(text.encode(encoding))
    return read_own_ads(path)


def _problem(folder: Path, text: str, encoding: str = "utf-8") -> str:
    with pytest.raises(BadCsv) as error:
        _read(folder, text, encoding)
    return str(error.value)


def test_a_plain_file(tmp_path: Path) -> None:
    """A day without a row is a day without delivery."""
    own = _read(tmp_path, PLAIN)
    panel = own.series.panel
    assert (panel.account_ids, panel.ad_ids, panel.first_day, panel.days) == (("act_1",), ("7",), date(2026, 1, 5), 3)
    assert panel.impressions.tolist() == [[1000, 0, 900]]
    assert panel.spend.tolist() == [[5.5, 0, 4]]
    assert not own.has_labels
    assert own.notes == ()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_an_export_of_ads_manager(tmp_path: Path, encoding: str) -> None:
    """Its headers, semicolons, decimal commas, thousands separators, byte order mark and totals are understood."""
    text = (
        "Reporting starts;Reporting ends;Ad name;Ad ID;Impressions;Clicks (all);Amount spent (EUR);Frequency\r\n"
        ";;;;12.345;200;1.300,75;\r\n"
        "2026-01-05;2026-01-05;Spring;9;1.234;15;1.100,25;1,5\r\n"
        "2026-01-06;2026-01-06;Spring;9;11.111;185;200,50;1,75\r\n"
    )
    own = _read(tmp_path, text, encoding)
    panel = own.series.panel
    assert panel.impressions.tolist() == [[1234, 11111]]
    assert panel.spend.tolist() == [[1100.25, 200.5]]
    assert own.series.frequency.tolist() == [[1.5, 1.75]]
    assert panel.names is not None
    assert panel.names.tolist() == [["Spring"] * 2]
    assert own.notes == (
        "1 rows without an ad are totals and were left out",
        "no account_id: all ads count as one account",
    )


def test_commas_with_quoted_thousands(tmp_path: Path) -> None:
    """English numbers in quotes are understood too, and a column of zeros may be empty."""
    header = "Day,Ad name,Impressions,Clicks (all),Amount spent (USD)\n"
    text = header + '2026-01-05,A,"1,234","12","1,100.25"\n2026-01-06,A,10,,\n'
    panel = _read(tmp_path, text).series.panel
    assert panel.impressions.tolist() == [[1234, 10]]
    assert panel.clicks.tolist() == [[12, 0]]
    assert panel.spend.tolist() == [[1100.25, 0]]


@pytest.mark.parametrize(
    "text",
    [
        # An export in German by day, with the whole report's start and end, and a named row of totals.
        (
            "Anzeigenname;Anzeigen-ID;Tag;Impressionen;Klicks (alle);Ausgegebener Betrag (EUR);Berichtsstart;"
            "Berichtsende\n"
            "Ergebnisse von 1 Anzeige;;;1.234;15;1.100,25;2026-01-01;2026-01-31\n"
            "Winter;120210000000000001;05.01.2026;1.234;15;1.100,25;2026-01-01;2026-01-31\n"
        ),
        # Connectors: other names, ids as decimals, slashes in days, link clicks alone.
        (
            "Date,Account ID,Ad ID,Impressions,Clicks (all),Cost\n"
            "2026/01/05,act_7,120210000000000001.0,1234.0,15.0,1100.25\n"
        ),
        "ad_id,date,account_id,impressions,inline_link_clicks,spend\n120210000000000001,2026-01-05,7,1234,15,1100.25\n",
        # Excel's separator line; Indian and Swiss groups of digits.
        "sep=;\nAd ID;Day;Impressions;Clicks (all);Spend\n120210000000000001;2026-01-05;1,234;15;1’100.25\n",
    ],
)
def test_exports_and_connectors(tmp_path: Path, text: str) -> None:
    """Headers in German, names of connectors, and their ways to write ids, days and numbers give the same figures."""
    own = _read(tmp_path, text)
    panel = own.series.panel
    assert (panel.ad_ids, panel.first_day) == (("120210000000000001",), date(2026, 1, 5))
    assert (panel.impressions.tolist(), panel.clicks.tolist(), panel.spend.tolist()) == ([[1234]], [[15]], [[1100.25]])
    links = "inline_link_clicks" in text
    assert panel.clicks_from == ("inline_link_clicks" if links else "clicks",)
    assert ("link clicks stand in for all clicks" in own.notes) == links
    assert panel.account_ids == (("act_7",) if "act_7" in text or links else ("act_own",))


def test_groups_of_two_digits(tmp_path: Path) -> None:
    """Lakhs and crores are read as counts and as money."""
    own = _read(tmp_path, 'ad_id,day,impressions,clicks,spend\n1,2026-01-05,"1,23,45,678",5,"1,23,456.78"\n')
    assert own.series.panel.impressions.tolist() == [[12345678]]
    assert own.series.panel.spend.tolist() == [[123456.78]]


@given(st.integers(0, 10**9), st.sampled_from(["", ",", ".", " ", "'"]))
def test_counts_with_any_separator(tmp_path_factory: pytest.TempPathFactory, count: int, mark: str) -> None:
    """A whole number reads the same with every separator of thousands."""
    text = f"{count:,}".replace(",", mark)
    own = _read(tmp_path_factory.mktemp("csv"), f"ad_id;day;impressions;clicks\n1;2026-01-05;{text};0\n")
    assert own.series.panel.impressions.tolist() == [[count]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "ad_id,day,impressions,clicks\n1.2021E+17,2026-01-05,5,1\n",
            "which lost digits; keep ids as text",
        ),
        ("", "is empty; its first line must name the columns"),
        ("ad_id,day,impressions\n1,2026-01-05,5\n", "columns are missing (clicks: clicks or clicks (all))"),
        ("ad_id,day,impressions,clicks\n1,2026-01-05,5,9\n", "line 2: more clicks than impressions"),
        (
            "ad_id,day,impressions,clicks\n1,2026-01-05,5,1\n\n1,2026-01-05,6,1\n",
            "lines 2 and 4: ad 1 has 2026-01-05 twice; keep one row",
        ),
        ("ad_id;day;impressions;clicks;spend\n1;2026-01-05;5;1;4,5\n1;2026-01-06;5;1;4.5\n", "different decimal marks"),
        (
            "ad_id,reporting starts,reporting ends,impressions,clicks\n1,2026-01-05,2026-01-31,5,1\n",
            "line 2: the row covers 2026-01-05 to 2026-01-31; export with the breakdown By time: Day",
        ),
        (
            "ad_id,day,impressions,clicks,fatigued_from\n1,2026-01-05,5,1,2026-01-06\n1,2026-01-06,5,1,2026-01-07\n",
            "lines 2 and 3: ad 1 has two dates of fatigued_from",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, expected: str) -> None:
    """Each problem names its line and what to do."""
    assert expected in _problem(tmp_path, text)


def test_a_wrong_cell_names_its_line_and_column(tmp_path: Path) -> None:
    """Each column refuses what is not of its kind, with the value as it stands in the file."""
    columns = ("day", "impressions", "spend", "platform_level")
    right = ("2026-01-05", "5", "1.5", "above_average")
    wrong = (
        ("05/01/2026", "2026-02-30"),
        ("many", "5.5", "-5", "nan", "9" * 400),
        ("$4",),
        ("bad",),
    )
    for place, values in enumerate(wrong):
        for value in values:
            row = ",".join((*right[:place], value, *right[place + 1 :]))
            message = _problem(tmp_path, f"ad_id,clicks,{','.join(columns)}\n1,1,{row}\n")
            assert f"line 2: {columns[place]} is '{value[:3]}" in message


def test_a_file_without_days_to_score(tmp_path: Path) -> None:
    """A file of the first line alone, and years far from each other, are refused."""
    head = "ad_id,day,impressions,clicks\n"
    assert "there is no row of an ad" in _problem(tmp_path, head)
    assert "check the years" in _problem(tmp_path, f"{head}1,2026-01-05,5,1\n1,2062-01-05,5,1\n")


def test_many_problems_are_cut(tmp_path: Path) -> None:
    """Ten problems are listed, the others counted."""
    rows = "".join(f"1,bad,{number},1\n" for number in range(30))
    message = _problem(tmp_path, "ad_id,day,impressions,clicks\n" + rows)
    assert message.count("\n") == 11
    assert message.endswith("and 20 more")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    """An Excel file, and a path without a file, are refused with what to do."""
    path = tmp_path / "ads.xlsx"
    path.write_bytes(b"PK\x03\x04\xff\xff\x00")
    with pytest.raises(BadCsv, match="save it as CSV UTF-8"):
        read_own_ads(path)
    with pytest.raises(BadCsv, match="cannot be read"):
        read_own_ads(tmp_path / "nothing.csv")


def _labeled(label: str, header: str) -> str:
    rng = np.random.default_rng(4)
    lines = [f"ad_id,day,impressions,clicks,{header}"]
    for ad in range(12):
        for day in range(80):
            rate = 0.02 * (0.5 if ad < 6 and day >= 45 else 1.0)
            shown = 5_000
            clicks = rng.poisson(shown * rate * np.exp(rng.normal(0, 0.08)))
            is_labeled = ad < 6 and (header == "fatigued_from" or day >= 45)
            when = date(2026, 1, 5) + timedelta(days=day)
            lines.append(f"{ad:02d},{when},{shown},{clicks},{label if is_labeled else ''}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(("label", "header"), [("2026-02-19", "fatigued_from"), ("HIGH", "platform_level")])
def test_labels_give_recall_and_precision(tmp_path: Path, label: str, header: str) -> None:
    """The onset is the labeled day, or the first day with a level of fatigue; a clear decline is detected after it."""
    own = _read(tmp_path, _labeled(label, header))
    assert own.has_labels
    assert own.series.onset.tolist() == [45] * 6 + [-1] * 6
    alarm = own_rows(own)[0]
    assert alarm["recall 14"] == 1.0
    assert alarm["delay"] <= 7
    assert alarm["precision"] >= 0.6


def test_the_report_of_own_ads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A good file prints alarms in 180 ad-days; a bad one says why and ends with 2."""
    path = tmp_path / "ads.csv"
    path.write_text(PLAIN, encoding="utf-8")
    assert report_own_ads(path) == 0
    assert "in 180 ad-days" in capsys.readouterr().out
    path.write_text("nothing", encoding="utf-8")
    assert report_own_ads(path) == 2
    assert "columns are missing" in capsys.readouterr().err
