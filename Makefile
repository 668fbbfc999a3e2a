# Two commands on a fresh machine do all: `make demo` and `make test`. Both install what they need into .venv first.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test check fuzz docs notebook clean

PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo-run
ARGS ?=
COUNT ?= 10000
SEED ?= 0
PIP_ARGS ?=

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# A worker for each core, and a thread for each worker; a file's tests share what they make.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist loadfile

help: ## Say what there is to make.
	@sed -n 's/^\([a-z]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{ printf "%-16s%s\n", $$1, $$2 }'

install: $(INSTALLED) ## Install edgeprune, and what it is developed with, into .venv.
	@echo "edgeprune is in $(VENV): source $(BIN)/activate"

$(INSTALLED): pyproject.toml constraints.txt edgeprune/__init__.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "edgeprune needs Python 3.10 or newer; name one with: make install PYTHON=python3.11" >&2; exit 1; }
	@echo "Making the environment $(VENV)"
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "Python's venv module is missing; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Installing edgeprune into it; PyTorch is large, so the first time takes some minutes"
	@set -o pipefail; export PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1; \
	  $(BIN)/python -m pip install -q "pip>=22.3" && \
	  $(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt -e ".[dev]" | \
	    sed -nE -e '/[MG]B\)$$/s/^ *(Downloading|Using cached) (.*\/)?/  /p' -e 's/^Installing collected.*/  Unpacking/p'
	@touch $@

demo: $(INSTALLED) ## Prune, fine-tune, export and measure the shipped network; leaves a report in demo-run/.
	@$(BIN)/edgeprune demo --out $(DEMO)

test: $(INSTALLED) ## Run the tests; ARGS="tests/bench -x" picks some.
	@$(PYTEST) $(ARGS)

check: $(INSTALLED) ## All that CI checks: style, types, import rules, tests, docs.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(PYTEST)

fuzz: $(INSTALLED) ## Read mutated files of every format: COUNT of them, chosen by SEED.
	@PYTHONPATH=tests $(BIN)/python tests/hostile/fuzz.py --count $(COUNT) --seed $(SEED)

docs: $(INSTALLED) ## Write the generated parts of docs/ anew.
	@$(BIN)/python docs/generate.py

notebook: $(INSTALLED) ## Run the notebook and keep what it shows.
	@cd examples && $(abspath $(BIN))/jupyter execute --inplace quickstart.ipynb

clean: ## Remove the environment, the caches and the demo's folder.
	rm -rf $(VENV) $(DEMO) dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
