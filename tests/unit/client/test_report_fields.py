"""The types of a report's fields as a DataFrame."""

from adwarm.model import ColumnTable
from adwarm_client.report_fields import to_frame


def test_types_do_not_depend_on_the_values_of_known_fields() -> None:
    """A count without values is a whole number; ids, names and unknown text keep every character."""
    frame = to_frame(
        ColumnTable(
            2,
            {
                "account_id": ["act_12", "12"],
                "ad_id": ["007", None],
                "adset_name": ["2026", "1e3"],
                "clicks": [None, None],
                "unique_clicks": ["3", None],
                "spend": ["4", 2],
                "conversions_of_ours": ["1", "2.5"],
                "quality_ranking": ["1", "UNKNOWN"],
            },
        )
    )
    assert frame["account_id"].tolist() == ["act_12", "12"]
    assert (frame["ad_id"][0], frame["adset_name"].tolist()) == ("007", ["2026", "1e3"])
    assert {str(frame[name].dtype) for name in ("clicks", "unique_clicks")} == {"Int64"}
    assert (frame["spend"].tolist(), frame["spend"].dtype.kind) == ([4.0, 2.0], "f")
    assert frame["conversions_of_ours"].sum() == 3.5
    assert frame["quality_ranking"].tolist() == ["1", "UNKNOWN"]
