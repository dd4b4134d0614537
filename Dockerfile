# syntax=docker/dockerfile:1
# Every Airflow component runs in this image. The local AWS endpoint has one of its own: packages/localaws/Dockerfile.
#
# The base is the official Python image, not apache/airflow: that image carries some hundred provider packages in
# versions of its own; here the versions are those of constraints.txt, the lock that laptop and CI use, and nothing else.
#
# A machine behind a package mirror hands its pip configuration in as a build secret, which no layer keeps:
#   docker build --secret id=pip_conf,src=$HOME/.config/pip/pip.conf --tag sagewind-airflow .
ARG PYTHON=3.12
FROM python:${PYTHON}-slim-bookworm

ENV AIRFLOW_HOME=/opt/airflow \
    PYTHONPATH=/opt/sagewind:/opt/sagewind/plugins \
    PYTHONUNBUFFERED=1
WORKDIR /opt/sagewind
# Volumes take owner and mode from the directories that they are mounted over.
RUN useradd --uid 50000 --gid 0 --create-home airflow \
    && install --directory --owner=airflow --group=0 --mode=0770 \
       /opt/airflow /opt/airflow/logs /opt/airflow/auth

# The packages that run, without the checks and without the sagemaker SDK (880 MB that only tests import).
# They change far less often than the code, so they are a layer before it.
COPY requirements.txt constraints.txt overrides.txt /tmp/lock/
COPY packages/localaws/src/localaws/engine/pip_settings.py /tmp/lock/
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=cache,target=/root/.cache/uv \
    cd /tmp/lock \
    && sed -e '/^# --- checks/,$d' -e '/^sagemaker==/d' requirements.txt >running.txt \
    && sed -i '/^-e /d' constraints.txt \
    && pip install --no-cache-dir "$(grep '^uv==' constraints.txt)" \
    && python pip_settings.py >registry.sh && . ./registry.sh && rm registry.sh \
    && UV_LINK_MODE=copy uv pip install --system --compile-bytecode \
       --requirements running.txt --constraints constraints.txt --overrides overrides.txt

COPY tools tools
COPY include include
COPY plugins plugins
COPY dags dags
USER airflow
