# make run: the tour, from nothing to a report.   make test: what CI runs.   Everything lives in .venv.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := run
.PHONY: run test check bench docs lock clean help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)
# TORCH_INDEX: another package index for PyTorch alone, e.g. its CPU-only wheels (see README.md).
TORCH_FROM := $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
# where `make run` leaves its runs
TOUR := runs/tour
PYTEST := $(BIN)/python -m pytest -q
# every test of this machine's kind, file by file, the longest first (tests/conftest.py)
ALL := -m "not gpu and not network"
# one worker more than the cores of a CI machine: many tests wait for processes of theirs
WORKERS := -n 3 --dist loadfile --no-loadscope-reorder

run: $(VENV)/.installed ## install, run the tour, print where the report is
	@$(BIN)/llemma tour run=$(TOUR)
	@report=$$(find "$(TOUR)" -maxdepth 2 -name '*.html' | head -n 1); echo "report: $${report:-none was written in $(TOUR)}"

test: $(VENV)/.installed-dev check ## install, check, every test of this machine's kind
	$(PYTEST) $(WORKERS) $(ALL)

check: $(VENV)/.installed-dev ## ruff, formatting, types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(VENV)/.installed-dev ## run the scripts in bench/, print their tables
	@for script in $(wildcard bench/[a-z]*.py); do echo "== $$script"; $(BIN)/python "$$script"; done

docs: $(VENV)/.installed-dev ## run every command and example of README.md and docs/
	$(PYTEST) $(ALL) tests/test_docs.py tests/test_architecture.py

lock: ## newest allowed versions into constraints.txt
	@$(find_python); rm -rf $(VENV)/lock; "$$python" -m venv $(VENV)/lock
	@$(VENV)/lock/bin/python -m pip --disable-pip-version-check install -q $(TORCH_FROM) torch
	@$(VENV)/lock/bin/python -m pip --disable-pip-version-check install -q -e '.[all,dev,ray]'
	@# PyTorch pins its CUDA packages itself; without these lines the file serves CPU and GPU machines alike
	@head -n 2 constraints.txt > $(VENV)/lock/constraints.txt
	@$(VENV)/lock/bin/python -m pip --disable-pip-version-check list --format=freeze --exclude-editable --exclude pip \
	  | grep -vE '^(cuda|nvidia|triton)' | sed 's/+[a-z0-9.]*$$//' | LC_ALL=C sort -f >> $(VENV)/lock/constraints.txt
	@mv $(VENV)/lock/constraints.txt constraints.txt; rm -rf $(VENV)/lock
	@echo "constraints.txt: $$(grep -c == constraints.txt) versions; run make test before committing it"

clean: ## remove the environment, caches and built files; keep runs/
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST)

# The first Python >= 3.11 of this machine, or one line that says what is missing.
define find_python
python=""; for name in $(PYTHON) python3.13 python3.12 python3.11; do \
  if command -v $$name > /dev/null && $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; \
  then python=$$name; break; fi; done; \
if [ -z "$$python" ]; then echo "llemma needs Python 3.11 or newer; install it, or say which: make PYTHON=/path/to/python3.11" >&2; exit 1; fi; \
if ! "$$python" -c 'import venv, ensurepip' 2> /dev/null; then echo "$$python has no venv module; install it (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; fi
endef

$(BIN)/python:
	@$(find_python); echo "creating $(VENV) with $$($$python --version)"; "$$python" -m venv $(VENV)

# A stamp per set of dependencies: a second `make` installs nothing unless these files changed.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing llemma[all] into $(VENV) (the first time, PyTorch is a large download)"
	@$(PIP) install -q $(TORCH_FROM) -c constraints.txt $(TORCH)
	@$(PIP) install -q -c constraints.txt -e '.[all]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PIP) install -q -c constraints.txt -e '.[all,dev]'
	@touch $@
