# Two commands for a new user: `make search` and `make test`. Both make .venv first, once.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: search setup check test test-all bench gpu-check lint types clean help

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
FAST := $(BIN)/python -m pytest -n auto --maxprocesses 4 -m "not slow and not long"
# In a process of its own: it alters torch.
PRETENDED_GPU := $(BIN)/python -m pytest tests/pretended_gpu
# The first Python on the path that is 3.11 to 3.14; `make PYTHON=/path/to/python3.12` overrides.
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do $$p -c "$(SUPPORTED)" 2>/dev/null && echo $$p && break; done)
# `make setup CPU=ADDRESS`, of PyTorch's index of builds without CUDA, which pip prefers: docs/install.md.
WITHOUT_CUDA := $(if $(CPU),--extra-index-url $(CPU))

search: $(STAMP)  ## search a segmentation model on the phantom data (ARGS="--data DIR ..." for more)
	@$(BIN)/python -m orchestrator.search --task seg $(ARGS)

setup: $(STAMP)  ## make .venv and install what constraints.txt pins

$(STAMP): pyproject.toml constraints.txt
	@[ -n "$(PYTHON)" ] && $(PYTHON) -c "$(SUPPORTED)" || { echo "error: Python 3.11 to 3.14 is needed and none was found; install one, or name it: make PYTHON=/path/to/python3.12"; exit 2; }
	@echo "setting up $(VENV) with $$($(PYTHON) --version): about 3 minutes, $(if $(CPU),3,7) GB, once"
	@[ "$(CPU)" != 1 ] || { echo "error: CPU=1: give the address of PyTorch's index of builds without CUDA instead of 1: docs/install.md"; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt setuptools
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation $(WITHOUT_CUDA) -c constraints.txt -e ".[offline,cluster,dev]"
	@touch $(STAMP)

check: lint types  ## lint, types and the fast tests: under 3 minutes
	$(FAST)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/mypy

test: $(STAMP)  ## everything that runs anywhere: under 25 minutes on 2 cores
	$(FAST)
	$(PRETENDED_GPU)
	$(BIN)/python -m pytest -m "slow and not long"

test-all: lint types  ## adds the long tests; its output is kept in docs/
	set -o pipefail; { $(PRETENDED_GPU) -v && $(BIN)/python -m pytest -v --durations=15; } 2>&1 | sed -u -e "s|$(CURDIR)|.|g" -e "s|/tmp/pytest-of-[^' ]*|TMP|g" | tee docs/test-all.txt

gpu-check: $(STAMP)  ## on a machine with a GPU: what works, what fits and what bounds it, in 8 minutes (ARGS="--data DIR")
	@$(BIN)/python -m benchmarks.gpu_check $(ARGS)

bench: $(STAMP)  ## measure what is claimed, with nothing else running on the machine: about an hour on 2 cores
	@for name in startup input search ensemble scale overhead packing predict cluster slots; do echo; echo "## $$name"; echo; $(BIN)/python -m benchmarks.$$name 2>> bench.log || exit 1; done

clean:
	rm -rf $(VENV) build *.egg-info

help:
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/:/'
