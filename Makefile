# make demo    sets slipher up in .venv and fits a real galaxy
# make test    sets it up and runs the tests (ten to sixteen minutes on two cores)
# Needs Python 3.11 or newer with pip; `make demo PYTHON=python3.12` chooses one. Everything runs on the CPU.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint benchmarks clean

help:
	@echo "make setup | demo | test | test-all | lint | benchmarks | clean"

setup: $(READY)

# Installed again only when pyproject.toml has changed. Some systems ship venv without ensurepip: then their pip is used.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "slipher needs Python 3.11 or newer; say which: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || $(PYTHON) -m venv --clear --without-pip $(VENV)
	@if $(BIN)/python -m pip --version >/dev/null 2>&1; then \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'; \
	else \
	  $(PYTHON) -m pip --python $(BIN)/python install --quiet --disable-pip-version-check pip --editable '.[test]'; \
	fi
	@touch $@

demo: $(READY)
	@$(BIN)/slipher demo

# One process for each core: compiling with JAX takes most of the time, each process compiles for itself, and programs that run for
# less than a second need not be the fastest. `make test-all` compiles as users do.
test: $(READY)
	@JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-all: $(READY)
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m ''

lint: $(READY)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports --no-logo

# The tables of benchmarks/README.md; hours. `pip install '.[compare]'` brings the codes that slipher is compared with.
benchmarks: $(READY)
	@$(BIN)/python -m pip install --quiet '.[compare]'
	@for script in benchmarks/[a-z]*.py; do echo "$$script" && $(BIN)/python "$$script" || exit 1; done

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .import_linter_cache slipher-demo.png
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
