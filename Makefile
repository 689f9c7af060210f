# make demo: from nothing to a trained model. make test, make check: what a change must pass. make help lists all.

PYTHON ?= python3
WORKERS ?= 2

VENV = .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
PINNED = -c constraints.txt
TORCH = $(shell grep '^torch==' constraints.txt)

.PHONY: help demo test test-docs test-runtime check memory stream bench learning peers precision demos pictures clean

help: ## these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/installed ## set up .venv, train a model that translates dates, score it and show what to type next
	@$(BIN)/antiphon demo
	@echo "In a new shell, first: . $(BIN)/activate"

test: $(VENV)/installed-dev ## set up .venv and run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-docs: $(VENV)/installed-dev ## run the documentation's commands as typed, the slow ones too
	ANTIPHON_DOCS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 0 tests/test_docs.py

test-runtime: $(VENV)/installed-dev ## install the runtime, without PyTorch, in a new environment, and test it there
	ANTIPHON_RUNTIME=1 $(BIN)/python -m pytest -n 0 -s tests/test_runtime.py

check: $(VENV)/installed-dev ## format, lint, strict types and the order of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

memory: $(VENV)/installed ## peak memory of preparing and reading 5 million pairs
	$(BIN)/python benchmarks/memory.py --pairs 5000000

stream: $(VENV)/installed ## memory while a million lines go through a pipe
	$(BIN)/python benchmarks/stream.py --lines 1000000

bench: $(VENV)/installed ## speed and score against the peers and the machine's limit; ARGS=--quick tries it out
	$(BIN)/python -m benchmarks.bench $(ARGS)

learning: $(VENV)/installed ## development loss per update beside the peers; ARGS=--trial says how long it will take
	$(BIN)/python -m benchmarks.learning $(ARGS)

peers: $(VENV)/installed ## install the peers for bench, each apart, below benchmarks/.peers or ANTIPHON_PEERS
	$(BIN)/python -m benchmarks.peers.install

precision: $(VENV)/installed ## whether bfloat16 products cost quality: three seeds each, on the folder ANTIPHON_DATA
	$(BIN)/python benchmarks/precision.py --out benchmarks/precision.json

demos: $(VENV)/installed ## the demo with ten seeds, both precisions and both kinds of loops; ARGS="--seeds 1-3" does less
	$(BIN)/python -m benchmarks.demos $(ARGS)

pictures: $(VENV)/installed ## draw the pictures of README and docs; trains the demo's model, needs a Chinese font
	$(BIN)/python -m benchmarks.pictures

clean: ## remove .venv, the demo's model and caches; your own models stay
	rm -rf $(VENV) demo-model build dist antiphon.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# PyTorch comes first and alone, so that a CPU build that is there already, or that pip is told of, is the one taken.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Antiphon needs Python 3.11 or newer; '$(PYTHON)' is not. Name one: make PYTHON=python3.12" >&2; exit 2; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || { \
	  echo "No virtual environment could be made; on Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 2; }
	@echo "Installing into $(VENV); the first time takes some minutes"
	$(PIP) install $(PINNED) $(TORCH)
	$(PIP) install --quiet $(PINNED) -e ".[train]"
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(PIP) install --quiet $(PINNED) -e ".[dev]"
	@touch $@
