# `make quickstart` and `make test` each set everything up first; nothing else is needed.
PYTHON ?= python3
VENV ?= .venv
PEERS ?= .peers
BIN = $(VENV)/bin
# Tests share no state; each process of them takes up to 2 GB.
PARALLEL = -n auto --maxprocesses 4 --dist worksteal

.PHONY: quickstart test test-slow lint bench peers clean

quickstart: $(VENV)/.core
	$(BIN)/curation run pipelines/quickstart.py --store store/quickstart --out corpus/quickstart
	$(BIN)/curation why --because "exact duplicate" --store store/quickstart

test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow" $(PARALLEL)

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow $(PARALLEL)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.dev
	for script in benchmarks/[a-z]*_*.py; do \
		$(BIN)/python -m benchmarks.$$(basename $$script .py) || exit 1; echo; done

# The packages that the deduplication benchmarks compare with, apart: some of them want old versions
# of what we use. text-dedup names packages that its MinHash does not import, so it comes alone.
peers: $(PEERS)/.done

$(PEERS)/.done: pyproject.toml
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --editable ".[peers]"
	$(PEERS)/bin/python -m pip install --quiet --no-deps "text-dedup==0.4.0"
	touch $@

$(VENV)/.core: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $(VENV)/.core $@

clean:
	rm -rf $(VENV) $(PEERS) store/quickstart corpus/quickstart
