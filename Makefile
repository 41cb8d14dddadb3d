# Everything runs inside $(VENV), which these targets make and keep up to date.
#   make quickstart PYTHON=/path/to/python3.12     another Python
#   make test ARGS="-k budget -x"                  arguments for pytest
#   make test JOBS=0                               in one process

PYTHON ?= python3
VENV ?= .venv
OUT ?= runs/quickstart
ARGS ?=
JOBS ?= 2

NATIVE = CMakeLists.txt $(wildcard src/submillion/native/*.?pp)

BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help quickstart test lint format clean

help:
	@echo "make quickstart   install, train a real classifier under 1,000,000 parameters, show its report's place"
	@echo "make test         install the development parts and run the tests (ARGS= goes to pytest)"
	@echo "make lint         style, types and the floors of the house"
	@echo "make format       rewrite the sources in the project's style"
	@echo "make clean        remove caches and builds; runs/ and $(VENV) stay"

quickstart: $(VENV)/.installed
	$(BIN)/submillion train quickstart --out $(OUT) --overwrite

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +

# The first Python of the list that is new enough makes the environment.
$(BIN)/python:
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "making $(VENV) with $$("$$python" --version)"; \
	    exec "$$python" -m venv "$(VENV)"; \
	  fi; \
	done; \
	echo "submillion needs Python 3.11 or newer; none was found. Name one: make quickstart PYTHON=/path/to/python3" >&2; \
	exit 2

$(VENV)/.installed: pyproject.toml constraints.txt $(NATIVE) | $(BIN)/python
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt $(NATIVE) | $(BIN)/python
	$(INSTALL) --editable ".[dev]"
	@touch $@ $(VENV)/.installed
