# CONTRIBUTING.md says what each target is for.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DOCUMENTS ?= 20000
SEED ?= 1
ONESHOT ?=
TESTS ?= tests
JOBS ?= 3
SUPERSET_VENV ?= .superset
export PYTHONPATH := plugins
export DO_NOT_TRACK := 1
export DBT_SEND_ANONYMOUS_USAGE_STATS := false

.PHONY: help install demo pipeline verify dashboards dashboards-picture dashboards-test test containers-test bench lint lock audit sbom release screenshot reference clean

help:
	@echo "make install | demo | pipeline | verify | dashboards | dashboards-picture | dashboards-test | test | containers-test | bench | lint | lock | audit | sbom | release | screenshot | reference | clean"

install: $(VENV)/installed

# The mark is the lock itself: an environment is rebuilt when, and only when, the lock has changed.
$(VENV)/installed: requirements-dev.txt requirements-uv.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements-dev.txt
	cp requirements-dev.txt $@

demo: install
	@ONESHOT=$(ONESHOT) DOCUMENTS=$(DOCUMENTS) SEED=$(SEED) $(BIN)/python -m include.demo

pipeline: install
	@$(BIN)/python -m cht_sync pipeline

verify: install
	@$(BIN)/python -m cht_sync verify

dashboards: install
	@$(BIN)/python -m cht_sync dashboards

dashboards-picture: install
	$(BIN)/python -m include.demo.dashboard_picture

# With the real Superset, in an environment of its own: too large for every run of the tests.
dashboards-test: install
	test -x $(SUPERSET_VENV)/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python $(SUPERSET_VENV)
	$(BIN)/uv pip sync --quiet --python $(SUPERSET_VENV)/bin/python --require-hashes requirements-superset.txt
	DASHBOARDS_SUPERSET=$(abspath $(SUPERSET_VENV)/bin/superset) $(BIN)/python -m pytest tests/integration/starter/test_superset_real.py

test: install
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(TESTS)

# With a container engine: another half an hour on two busy cores, so no part of the tests.
containers-test: install
	CONTAINERS=$(or $(CONTAINERS),1) $(BIN)/python -m pytest tests/containers

bench: install
	$(BIN)/python -m tests.benchmarks

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

lock: install
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate requirements.in -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --resolution lowest-direct --generate-hashes --no-annotate requirements-oldest.in -o requirements-oldest.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.12 --only-binary :all: --generate-hashes --no-annotate -c requirements.txt requirements-image.in -o requirements-image.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate -c requirements.txt requirements-dev.in -o requirements-dev.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate requirements-superset.in -o requirements-superset.txt
	awk '/^[^ ]/ {on = /^psycopg2-binary==/} on' requirements-superset.txt > include/docker/superset/requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate -c requirements-dev.txt requirements-uv.in -o requirements-uv.txt

# Asks PyPI's database of vulnerabilities, so it needs the internet and is no part of the tests.
audit: install
	$(BIN)/uv tool run pip-audit --strict --require-hashes --disable-pip -r requirements.txt

# What the image holds, for those who look up vulnerabilities: CycloneDX, the same bytes for the same lock.
sbom: install
	mkdir -p dist
	$(BIN)/uv tool run --from cyclonedx-bom==7.5.0 cyclonedx-py requirements --output-reproducible --sv 1.6 \
		-o dist/sbom.cdx.json requirements-image.txt

# What goes with a tag: the sources as git has them, and the list of what the image holds.
release: lint test sbom
	test -z "$$(git status --porcelain)" || { echo "Commit or stash what git status shows before a release." >&2; exit 1; }
	git archive --format tar.gz --prefix cht-sync-airflow/ --output dist/cht-sync-airflow.tar.gz HEAD

screenshot: install
	$(BIN)/python -m include.demo.screenshot

reference: install
	$(BIN)/python -m include.reference

clean:
	rm -rf .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
