# The image of every Airflow service, of the read API and of the simulator. Build it with `docker compose build`.
#
# The lock is installed in a stage of its own, so that the final image holds no compiler, no cache and no build tool.

FROM python:3.12.13-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    UV_NO_CACHE=1 \
    UV_COMPILE_BYTECODE=1

# uv, because an older pip refuses the extras in a hash-pinned universal lock. It stays outside the environment.
WORKDIR /build
COPY requirements.txt ./
COPY requirements/bootstrap.txt requirements/
RUN python -m venv --without-pip /opt/venv \
    && python -m pip install --require-hashes -r requirements/bootstrap.txt \
    && uv pip sync --python /opt/venv/bin/python --require-hashes requirements.txt

COPY pyproject.toml README.md LICENSE ./
COPY include include
COPY plugins plugins
COPY clients/python clients/python
RUN uv pip install --python /opt/venv/bin/python --no-deps ./clients/python .


FROM python:3.12.13-slim-bookworm

# HOME and USER, because a user id from AIRFLOW_UID has no line in /etc/passwd. The last two return free memory to the
# system instead of keeping some for each thread.
ENV AIRFLOW_HOME=/opt/airflow \
    HOME=/opt/airflow \
    USER=airflow \
    PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/airflow/include:/opt/airflow/plugins \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MALLOC_ARENA_MAX=2 \
    ARROW_DEFAULT_MEMORY_POOL=system

# Group 0 may write, so that any AIRFLOW_UID works; volumes mounted on logs, data and read-api take over
# these rights.
RUN useradd --uid 50000 --gid 0 --home-dir /opt/airflow --no-create-home --shell /usr/sbin/nologin airflow \
    && install -d -m 0775 -o 50000 -g 0 /opt/airflow /opt/airflow/logs /opt/airflow/data /opt/airflow/read-api \
        /opt/airflow/config

COPY --from=build /opt/venv /opt/venv
COPY --chown=50000:0 include /opt/airflow/include
COPY --chown=50000:0 plugins /opt/airflow/plugins
COPY --chown=50000:0 dags /opt/airflow/dags
COPY --chown=50000:0 config/init.sh /opt/airflow/config/init.sh
# As in the environment: without bytecode each process, so each task, would compile what it imports.
RUN python -m compileall -q /opt/airflow/include /opt/airflow/plugins

WORKDIR /opt/airflow
USER 50000:0
CMD ["airflow", "version"]
