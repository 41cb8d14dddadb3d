# Everything runs inside $(VENV), which these targets create and keep up to date.
#   make quickstart PYTHON=/path/to/python3.12     another Python
#   make test ARGS="-k budget -x"                  arguments for pytest
#   make test JOBS=0                               in one process; four keep two cores busy, as many tests wait

PYTHON ?= python3
VENV ?= .venv
OUT ?= runs/quickstart
ARGS ?=
JOBS ?= 4

NATIVE = CMakeLists.txt $(wildcard src/submillion/native/*.?pp)
CPP = $(wildcard src/submillion/native/*.?pp benchmarks/native/*.?pp tests/native/*.?pp)

BIN = $(VENV)/bin
PEERS = build/peers
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help quickstart test lint audit format docs peers clean

help:
	@echo "make quickstart   install, train a real classifier under 1,000,000 parameters, print the path of its report"
	@echo "make test         install the development extras and run the tests (ARGS= goes to pytest)"
	@echo "make lint         check style, types, import contracts and security rules"
	@echo "make audit        look for published vulnerabilities of the pinned versions (needs an index with advisories)"
	@echo "make format       format the sources"
	@echo "make docs         build the documentation into build/docs (no network); start at build/docs/index.html"
	@echo "make peers        make build/peers, the environment of the rivals that benchmarks/accuracy compares with"
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
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive --severity-level medium src
	$(BIN)/clang-format --dry-run --Werror $(CPP)

# Needs a package index that publishes advisories; from any other, pip-audit would skip every package.
audit: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet "pip-audit>=2.9,<3"
	$(BIN)/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

docs: $(VENV)/.installed-dev
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --nitpicky --quiet docs build/docs

# SetFit and model2vec are not installed beside submillion; they share its pinned versions of torch and transformers.
peers: $(PEERS)/.installed

$(PEERS)/.installed: benchmarks/peers/requirements.txt constraints.txt | $(BIN)/python
	$(BIN)/python -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --disable-pip-version-check --constraint constraints.txt --requirement $<
	@touch $@

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +

# The environment is made with the first Python of the list that is new enough.
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
