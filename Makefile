# Two commands matter: `make demo` sets everything up and shows the main job, `make test` sets everything up and tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python
EDITABLE := --config-settings editable_mode=strict

.PHONY: demo test lint format types unit bench docs data train clean

demo: $(VENV)/.runtime
	$(BIN)/crosslens demo

test: $(VENV)/.dev lint types unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev
	$(BIN)/mypy -p crosslens

unit: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2

bench: $(VENV)/.dev
	$(BIN)/python -m tests.bench

# The command reference from the commands' own help, and the site in build/site.
docs: $(VENV)/.dev
	$(BIN)/python -m tests.reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --config-file docs/site/mkdocs.yml

# The demo's pictures and model are in the repository; these two make them again (Node.js and, for training, hours).
data: $(VENV)/.dev
	$(BIN)/python -m crosslens.demo.build --test-out tests/data

train: $(VENV)/.dev
	$(BIN)/python -m crosslens.demo.train --out build/crosslens-emoji

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "crosslens needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

# A strict editable install links every module, so a new file needs a new install: hence the list of sources.
SOURCES := $(shell find plugin ingest queries -name '*.py' -o -name '*.java' -o -name '*.html' -o -name '*.css' -o -name '*.js' -o -name 'pom.xml' -not -path '*/data/*')

$(VENV)/.runtime: pyproject.toml $(VENV)/bin/uv $(SOURCES)
	$(UV) $(EDITABLE) -e '.[node,serve]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/bin/uv $(SOURCES)
	$(UV) $(EDITABLE) -e '.[dev]'
	@touch $@
