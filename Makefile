# make demo and make test are all that a fresh machine needs: Python 3.11 or newer and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# torch comes first and pinned: resolved together with the rest, pip may pick a build of several gigabytes
TORCH  := torch==2.13.0

.PHONY: demo test lint bench docs-check setup
.DEFAULT_GOAL := test

setup: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[all,dev]'
	touch $@

demo: $(READY)  ## train, prune, quantize, export, verify and benchmark on the handwritten digits; ends with a table and out/demo/report.html
	$(BIN)/pocketgnn demo --output out/demo --overwrite

test: $(READY)  ## all tests that need no data set and no system package
	$(BIN)/python -m pytest -n 2

lint: $(READY)  ## style, types and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## our files against PyG eager and both torch.onnx exporters over graph sizes; results in out/bench
	$(BIN)/python -m device_benchmarks.lowering_study --output out/bench

docs-check: $(READY)  ## run every command block of README.md
	$(BIN)/python -m pytest -m docs tests/docs
