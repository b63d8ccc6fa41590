# The same commands for people and for CI. `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
OUT ?= runs/demo-$(shell date +%Y%m%d-%H%M%S)
# In a shared cache folder, uv finds what pip is told to find by its own variable.
FIND_LINKS := $(or $(UV_FIND_LINKS),$(PIP_FIND_LINKS))
# Test files at once; each in one thread, or they would wait for each other at barriers.
JOBS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist loadfile
GATED := model objectives report evaluate

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint check format

help:
	@echo "make demo    set up, run the whole method on synthetic patients, show the result"
	@echo "make test    set up, run the tests"
	@echo "make check   format, lint, types, import rules, tests with coverage"
	@echo "make format  put the code into shape"
	@echo "make setup   only set up the virtual environment in $(VENV)"

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12 ..."; exit 1; }
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
	  uv pip install --quiet --python $(BIN)/python $(if $(FIND_LINKS),--find-links $(FIND_LINKS)) \
	    -c constraints.txt -e '.[dev]'; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/python -m pip install --quiet --upgrade pip && \
	  $(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'; \
	fi
	@touch $@
	@echo "ready: $(BIN)/simcrop --help"

demo: setup
	$(BIN)/simcrop demo -o $(OUT)

test: setup
	$(PYTEST)

lint: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/ty check src
	$(BIN)/lint-imports

check: lint
	$(PYTEST) $(foreach part,$(GATED),--cov=simcrop.$(part)) --cov-report=term:skip-covered --cov-fail-under=90

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
