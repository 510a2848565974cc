from datetime import date, timedelta

from adwarm import Settings, score_account

today = date(2026, 11, 1)
days = [
    {
        "account_id": "1",
        "ad_id": "7",
        "date_start": str(today - timedelta(days=age)),
        "date_stop": str(today - timedelta(days=age)),
        "impressions": "1000",
        "reach": "800",
        "inline_link_clicks": str(10 + age),  # fewer clicks every day
        "spend": "5.00",
    }
    for age in range(30)
]
[score] = score_account(days, [], today, Settings().fatigue)
print(score.ad_id, score.status, score.total)
