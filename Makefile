# Every target sets itself up: `make run` on a machine with Python 3.11 or 3.12 and a package registry is enough.
# The set-up is tools/setup.sh; once done it costs a comparison of two files.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The demonstration needs categories, which tumor has not.
export DEMO_MODEL := $(or $(MODEL),census)
export MODEL ?= tumor
export PYTHON ?=
# Airflow imports `include` from the project root; its own loader adds plugins/ at the end of the path.
export PYTHONPATH := $(CURDIR):$(CURDIR)/packages/localaws/tests:$(CURDIR)/packages/localaws/benchmarks

# registry.sh carries the machine's pip settings to uv, which also builds the image environments of the local endpoint.
PY := . .venv/registry.sh && .venv/bin/python

# A registry that stumbles is asked again, by the set-up, for the image environments and in tests.
export UV_HTTP_RETRIES ?= 10
export UV_HTTP_TIMEOUT ?= 120
export PIP_RETRIES ?= 10

# Options of the stack, from variables: they reach the shell by the environment, never as text of a command.
export PORT ?=
export AWS_PORT ?=
export STATE ?=
export FAULTS ?= 200
export SEED ?=
export PROJECT ?=
export REQUIREMENTS ?=
export OFFLINE ?=
STATE_OPTION = $${STATE:+--state "$$STATE"}
# Test files share nothing: one process a core, and a file stays together because its tests share an endpoint or a stack.
# The order is that of tests/conftest.py.
PYTEST = $(PY) -m pytest --durations 20 --durations-min 0.5
PARALLEL := --numprocesses auto --dist loadfile --no-loadscope-reorder
STACK = $${PORT:+--port="$$PORT"} $${AWS_PORT:+--aws-port="$$AWS_PORT"} $(STATE_OPTION)

.PHONY: lock-packages help setup run drift-demo up down status airflow dry-run model wheels mwaa test test-all faults check lint fmt types arrows lock bench coverage-page structure-page provider-page env clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup:  ## make .venv from constraints.txt (every other target does it when needed; PYTHON= chooses the Python)
	@tools/setup.sh

run: setup  ## run a model's whole life against the local endpoint: MODEL=tumor KEEP=1 SOURCE=file:///data.csv
	@$(PY) -m tools.stack run --model "$$MODEL" $${KEEP:+--keep} $${SOURCE:+--source "$$SOURCE"} $(STACK)

drift-demo: setup  ## deploy a model, shift its traffic, see the monitoring name the drift: MODEL=census SOURCE=file:///adult.data
	@$(PY) -m tools.stack drift --model "$$DEMO_MODEL" $${SOURCE:+--source "$$SOURCE"} $(STACK)

up: setup  ## start Airflow and the local endpoint and leave them running: PORT=8080 AWS_PORT=4566 STATE=folder
	@$(PY) -m tools.stack up $(STACK)

down: setup  ## stop what `make up` or `make run KEEP=1` left running: STATE=folder
	@$(PY) -m tools.stack down $(STATE_OPTION)

status: setup  ## say what is up
	@$(PY) -m tools.stack status $(STATE_OPTION)

airflow: setup  ## an Airflow command against the stack that is up: ARGS="dags list"
	@$(PY) -m tools.stack airflow $(STATE_OPTION) $(if $(ARGS),,$(error write ARGS="..."; for example ARGS="dags list"))$(ARGS)

dry-run: setup  ## print the SageMaker requests of a model without sending one: MODEL=tumor DAG=lifecycle
	@. .venv/registry.sh && .venv/bin/sagewind dry-run "$$MODEL" $${DAG:+--dag "$$DAG"}

model: setup  ## write include/models/NAME.yaml and dags/NAME.py for a new model: NAME=churn
	@. .venv/registry.sh && .venv/bin/sagewind model "$${NAME:?write a name, such as NAME=churn}"

wheels: setup  ## build the wheels sagewind and sagewind-localaws into dist/
	@. .venv/registry.sh && rm -rf dist && .venv/bin/uv build --quiet --wheel --out-dir dist . && .venv/bin/uv build --quiet --wheel --out-dir dist packages/localaws
	@ls dist/*.whl

mwaa: wheels  ## write build/mwaa/, what Amazon MWAA takes of a project (docs/deploy.md): PROJECT=folder REQUIREMENTS=file OFFLINE=folder
	@. .venv/registry.sh && .venv/bin/sagewind mwaa --wheel dist/sagewind-*.whl $${PROJECT:+--project "$$PROJECT"} \
		$${REQUIREMENTS:+--requirements "$$REQUIREMENTS"} $${OFFLINE:+--offline "$$OFFLINE"}

test: setup  ## unit and contract tests, and one model's whole life in a real Airflow: about 6 minutes
	@. .venv/registry.sh && .venv/bin/localaws pull >/dev/null
	@$(PYTEST) $(PARALLEL) -m "not long"

test-all: setup  ## every test, those of `make test` once more while processes are stopped at random: about 50 minutes
	@. .venv/registry.sh && .venv/bin/localaws pull >/dev/null
	@$(PYTEST) $(PARALLEL) -m "not alone"
	@$(PYTEST) -m alone
	@$(PY) -m tests.paused $(PARALLEL) -m "not long"

faults: setup  ## kill, pause and cut off a real stack on PostgreSQL while models run: FAULTS=200 SEED=7 (docs/faults.md)
	@$(PY) -m tests.faults --faults "$$FAULTS" $${SEED:+--seed "$$SEED"}

check: lint types arrows  ## lint, types and import arrows

lint: setup  ## ruff: rules and format
	@.venv/bin/ruff check . && .venv/bin/ruff format --check .

fmt: setup  ## ruff: mend what it can, format
	@.venv/bin/ruff check --fix . ; .venv/bin/ruff format .

# Job programs and facts once more, as the oldest Python of AWS's images sees them; there NumPy's types are Any in places.
types: setup  ## mypy --strict
	@.venv/bin/mypy
	@.venv/bin/mypy --python-version 3.10 --no-warn-return-any plugins/sagewind/jobs plugins/sagewind/facts

arrows: setup  ## who may import whom (tools/arrows.py), no circles, no climbs (tools/structure.py)
	@.venv/bin/python -m tools.arrows && .venv/bin/python -m tools.structure --check

LOCK = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header
lock: setup  ## renew constraints.txt from requirements.txt, and those of the packages: the same versions, as far as each needs them
	@. .venv/registry.sh && $(LOCK) --upgrade --override overrides.txt requirements.txt --output-file constraints.txt && $(MAKE) lock-packages && tools/setup.sh

lock-packages:
	@. .venv/registry.sh && grep -v '^-e' constraints.txt >.venv/constraints.txt && cd packages/localaws && \
		../../$(LOCK) --constraints ../../.venv/constraints.txt pyproject.toml --output-file constraints.txt

coverage-page: setup  ## write packages/localaws/docs/coverage.md from the code and the tests
	@$(PY) -m localaws_tests.coverage_page

structure-page: setup  ## draw docs/structure.md from the imports
	@.venv/bin/python -m tools.structure

provider-page: setup  ## play every ending to the stock operators and ours, write docs/provider-comparison.md (20 s)
	@$(PY) -m tools.provider_comparison >/dev/null

bench: setup  ## what the project costs beside the least that is possible: BENCH="start jobs batch s3 invoke parse overhead waiting monitor" QUICK=1
	@$(PY) -m benchmarks.run $(BENCH) $${QUICK:+--quick}

env:  ## write .env with new secrets for docker-compose.yaml (mode 0600; never overwrites)
	@python=$$(tools/setup.sh --which) && "$$python" -m tools.make_env

clean:  ## remove .venv, caches and what local runs left behind
	@rm -rf .venv .sagewind build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
