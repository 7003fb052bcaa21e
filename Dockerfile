# The image of every component. What is installed is the lock alone, in an environment of its own: nothing of what the
# official image brings is mixed in, and two builds hold the same files. See docs/how-to-docker.md.
ARG AIRFLOW_IMAGE=apache/airflow:slim-3.3.2-python3.12

FROM ${AIRFLOW_IMAGE} AS packages
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
USER 0
RUN install -d -o airflow -g 0 /opt/cht
USER 50000:0
COPY requirements-image.txt /tmp/requirements.txt
# The official image sets PIP_USER, which has no meaning in an environment of its own.
RUN python -m venv /opt/cht/venv \
    && PIP_USER=0 /opt/cht/venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
        --require-hashes --only-binary :all: -r /tmp/requirements.txt \
    && /opt/cht/venv/bin/python -m pip check

FROM ${AIRFLOW_IMAGE} AS base
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
USER 0
# git fetches dbt projects; its version is that of the official image's Debian.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* \
    && install -d -o airflow -g 0 -m 0775 /opt/cht /opt/cht/pipeline /opt/cht/keys \
    && install -d -o airflow -g 0 -m 0770 /opt/cht/keys/{all,database,fernet,jwt,api,celery,redis,ui}
COPY --from=packages /opt/cht/venv /opt/cht/venv
COPY dags /opt/cht/dags
COPY plugins /opt/cht/plugins
COPY include /opt/cht/include
ENV PATH="/opt/cht/venv/bin:${PATH}" \
    PYTHONPATH="/opt/cht/include/airflow_config:/opt/cht/plugins" \
    PYTHONDONTWRITEBYTECODE=1 \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/cht/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/cht/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=false \
    AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME=0.2 \
    CHT_PIPELINE_DIR=/opt/cht/pipeline \
    DO_NOT_TRACK=1 \
    DBT_SEND_ANONYMOUS_USAGE_STATS=false
USER 50000:0

# The dbt project, baked in. A token is given as the build secret cht_pipeline_token, which leaves no trace in the image;
# an address that holds one is refused as an argument, which does.
FROM base AS project
ARG CHT_PIPELINE_BRANCH_URL=""
RUN --mount=type=secret,id=cht_pipeline_token,uid=50000 \
    --mount=type=secret,id=cht_pipeline_branch_url,uid=50000 \
    CHT_PIPELINE_BRANCH_URL="${CHT_PIPELINE_BRANCH_URL}" python /opt/cht/include/docker/build_project.py

FROM base AS image
ARG CHT_PIPELINE_BRANCH_URL=""
ENV CHT_PIPELINE_BRANCH_URL=${CHT_PIPELINE_BRANCH_URL}
COPY --from=project --chown=airflow:0 /opt/cht/pipeline /opt/cht/pipeline
# Each component has its own way to say that it is well: docker-compose.yml and the Helm chart ask each of them.
HEALTHCHECK NONE
