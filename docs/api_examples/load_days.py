from datetime import UTC, datetime, timedelta

from adwarm import load_days

yesterday = datetime.now(UTC).date() - timedelta(days=1)
days = load_days(["act_1", "act_2"], yesterday - timedelta(days=6), yesterday, allow_partial=True)
print(days.groupby(["account_id", "date_start"])["spend"].sum(), days.attrs["adwarm"]["missing"])
