#!/bin/sh
# Runs once, when the PostgreSQL volume is empty: gives adwarm a database and a role of its own, which cannot
# reach Airflow's metadata.
set -eu

psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set password="$ADWARM_POSTGRES_PASSWORD" --set metadata="$POSTGRES_DB" <<'SQL'
CREATE ROLE adwarm LOGIN PASSWORD :'password';
CREATE DATABASE adwarm OWNER adwarm;
REVOKE CONNECT ON DATABASE :"metadata" FROM PUBLIC;
SQL
