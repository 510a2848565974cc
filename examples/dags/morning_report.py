"""Mails the link to the morning report at eight, once its reports are warm: nobody opens it and waits.

Needs an SMTP connection `smtp_default`. When the reports are not warm by nine, the mail is skipped.
"""

from datetime import UTC, datetime

from airflow.providers.smtp.operators.smtp import EmailOperator
from airflow.sdk import CronTriggerTimetable, dag

from adwarm_airflow.operators import KeysWarmSensor

ACCOUNTS = ["act_1234", "act_5678"]


@dag(
    schedule=CronTriggerTimetable("0 8 * * 1-5", timezone="Europe/Berlin"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    tags=["example"],
)
def morning_report() -> None:
    """Wait until the reports are warm, then send the mail."""
    warm = KeysWarmSensor(
        task_id="wait_until_warm", accounts=ACCOUNTS, date_ranges=["yesterday", "last_7d"], soft_fail=True
    )
    mail = EmailOperator(
        task_id="mail",
        to="team@example.com",
        from_email="reports@example.com",
        subject="The morning report of {{ ds }}",
        html_content="<p><a href='https://dashboard.example.com/'>The morning report</a> opens without a wait.</p>",
    )
    warm >> mail


morning_report()
