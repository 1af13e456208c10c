# make demo    a complete campaign against the real service, on a simulated screen
# make serve   the service on http://127.0.0.1:8000
# make test    linters, types and the whole test-suite on SQLite and PostgreSQL
#
# PYTHON=python3.12 chooses the interpreter, VENV=/some/dir where it all is installed,
# DATA=/some/screen the measured screen that `make demo` replays.

PYTHON ?= python3
VENV ?= .venv
DATA ?=
DEMO_DIR ?= out/demo
BIN := $(VENV)/bin

.PHONY: demo serve test lint types imports unit openapi clean

demo: $(VENV)/.installed
	$(BIN)/nextround demo --data-dir $(DEMO_DIR) $(if $(DATA),--data $(DATA))

serve: $(VENV)/.installed
	$(BIN)/nextround serve

test: lint types imports unit

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

imports: $(VENV)/.installed-dev
	$(BIN)/lint-imports

# One thread for each test process: two processes that both use all cores only wait for each other.
unit: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal

openapi: $(VENV)/.installed
	$(BIN)/nextround openapi > openapi.json

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Nextround needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
