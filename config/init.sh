#!/bin/sh
# Prepares both databases and the first administrator; safe to run again.
set -eu

airflow db migrate
adwarm db upgrade
airflow users create --role Admin --username "$ADMIN_USERNAME" --password "$ADMIN_PASSWORD" \
    --firstname Airflow --lastname Admin --email "$ADMIN_USERNAME@example.invalid"
