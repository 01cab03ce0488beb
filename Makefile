# make demo   set everything up and run the main job on the sandbox
# make test   set everything up and run the tests
# make ui     the Dagster UI on http://127.0.0.1:3000
# make test-long   the rehearsals: a death at every call, demos from nothing to SSH
# make test-exhaustive   every death, fault and trouble at every call, one by one; the gate runs a selection
# make test-real   the tests that need other programs; says what was proved with each, what it skips and why
# make tools   build those programs with Go (TOOL=name for one, WITHIN=20 for as many minutes), outside of this folder
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# One more than there are cores, as many tests wait for a process now and then.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min((os.cpu_count() or 1) + 1, 16))')

SHELL := /bin/sh
unexport PYTHONDONTWRITEBYTECODE
export DAGSTER_DISABLE_TELEMETRY := 1

.PHONY: setup demo test test-long test-exhaustive test-real tools ui lint types fmt bench lock clean help

help:
	@sed -n 's/^# make/make/p' Makefile

setup: $(STAMP)

$(STAMP): requirements/dev.txt requirements/installer.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "ocifree needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "This Python cannot make virtual environments. Debian splits that out: apt-get install python3-venv"; exit 1; }
	@echo "setting up $(VENV) (about a minute the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/installer.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $(STAMP)

demo: setup
	@$(BIN)/python -m ocifree_pipeline.cli.app demo

test: setup
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not long and not exhaustive and not real and not ui"

test-long: setup
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "long and not exhaustive and not real and not ui"

test-exhaustive: setup
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal -m exhaustive

test-real: setup
	@PATH="$$($(BIN)/python tools/build.py --where):$$PATH" $(BIN)/pytest -n 2 --dist worksteal -m "real or ui"

tools: setup
	@$(BIN)/python tools/build.py $(if $(WITHIN),--within $(WITHIN)) $(TOOL)

ui: setup
	@$(BIN)/ocifree ui

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --verbose >/dev/null || $(BIN)/lint-imports
	@$(BIN)/mypy

fmt: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup
	@$(BIN)/python -m ocifree_pipeline_tests.bench

lock: setup
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-strip-extras --extra dev --custom-compile-command "make lock" pyproject.toml -o requirements/dev.txt
	@echo uv | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-annotate --custom-compile-command "make lock" - -o requirements/installer.txt

clean:
	rm -rf $(VENV) .ocifree .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
