#!/usr/bin/env bash
# Starts Superset 6.1 without Docker in a folder: venv, SQLite, a cache of files, an admin with $SUPERSET_PASSWORD.
# Usage: SUPERSET_PASSWORD=... start.sh [folder] [port]; needs Python 3.11 and uv. Not for production.
set -euo pipefail
home=$(realpath -m "${1:-.adwarm/superset}") port=${2:-8088}
export SUPERSET_CONFIG_PATH=$home/superset_config.py FLASK_APP=superset
mkdir -p "$home"
if [ ! -e "$home/ready" ]; then
    uv venv --quiet --clear --python 3.11 "$home/venv"
    uv pip install --quiet --python "$home/venv/bin/python" \
        apache-superset==6.1.0 flask-caching==2.3.1 rich cachetools redis
    cat > "$SUPERSET_CONFIG_PATH" <<END
SECRET_KEY = "$("$home/venv/bin/python" -c 'import secrets; print(secrets.token_hex(32))')"
SQLALCHEMY_DATABASE_URI = "sqlite:///$home/superset.db?check_same_thread=false"
DATA_CACHE_CONFIG = {"CACHE_TYPE": "FileSystemCache", "CACHE_DIR": "$home/cache", "CACHE_DEFAULT_TIMEOUT": 3 * 3600}
PREVENT_UNSAFE_DB_CONNECTIONS = False
TALISMAN_ENABLED = False
END
    "$home/venv/bin/superset" db upgrade
    "$home/venv/bin/superset" fab create-admin --username admin --firstname A --lastname A --email a@example.com \
        --password "${SUPERSET_PASSWORD:?}"
    "$home/venv/bin/superset" init
    touch "$home/ready"
fi
exec "$home/venv/bin/gunicorn" --workers 1 --threads 4 --timeout 120 --bind "127.0.0.1:$port" "superset.app:create_app()"
