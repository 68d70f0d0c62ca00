# uv where it is there, else venv + pip; both take the committed constraints.
.PHONY: help demo test lint bench proof proof-nightly schema constraints clean
.DEFAULT_GOAL := help

export UV_PYTHON_DOWNLOADS := never
PYTHON ?= python3
BIN := .venv/bin
UV := $(shell command -v uv 2>/dev/null)
ifdef UV
  VENV = uv venv --quiet --allow-existing --python $(PYTHON) .venv
  INSTALL = uv pip install --quiet --python $(BIN)/python --constraints constraints.txt
else
  VENV = $(PYTHON) -m venv .venv
  INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
endif

help:
	@echo "make demo   install, then render specs/examples/liftoff.yaml locally: no key, no network"
	@echo "make test   install with the tools of development, then run the whole test suite"
	@echo "make lint   ruff, mypy and the import contracts"
	@echo "make proof  the proof of the money protocol, one table; proof-nightly runs more"
	@echo "make bench  the benchmarks, as ratios"
	@echo "make clean  remove the environment and caches"

.venv/.run: pyproject.toml constraints.txt
	$(VENV)
	$(INSTALL) --editable .
	@touch $@

.venv/.dev: pyproject.toml constraints.txt
	$(VENV)
	$(INSTALL) --editable '.[dev]'
	@touch $@ .venv/.run

demo: .venv/.run
	$(BIN)/rushes render specs/examples/liftoff.yaml --provider animatic

# What starts whole houses of servers and kills them runs alone: beside other tests it would only show how busy the machine is.
test: .venv/.dev
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow"
	$(BIN)/python -m pytest -m slow

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/.dev
	$(BIN)/python -m pytest tests/bench -q -s -p no:cacheprovider -o python_files='bench_*.py' -o python_functions='bench_*'

proof: .venv/.dev
	$(BIN)/python -m tests.proof --seed 7

proof-nightly: .venv/.dev
	$(BIN)/python -m tests.proof --nightly

schema: .venv/.run
	$(BIN)/rushes schema > specs/storyboard.schema.json

# Names every version and no address; run it when pyproject.toml changes.
constraints:
	uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-header --no-annotate --no-emit-index-url --output-file constraints.txt pyproject.toml

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
