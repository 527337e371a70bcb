.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-minimum gpu lint format docs constraints clean

# Corpora that lie beside the clone are used where the user has not said otherwise (docs/design.md, section 5).
CORPORA := $(shell cd ../shared/data 2>/dev/null && pwd)
ifneq ($(CORPORA),)
export AUDIOREC_DATA ?= $(CORPORA)
endif

PYTHON_ENV := .venv/bin
# One thread per process: the processes share the cores, and results do not depend on their number.
PYTEST := OMP_NUM_THREADS=1 $(PYTHON_ENV)/python -m pytest -n auto --maxprocesses 8 --dist worksteal

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv with all a developer needs (PYTHON=python3.12 chooses the interpreter)
	@tools/setup.sh

demo: setup ## train a small streaming recogniser on real speech, stream it, print its WER
	PATH="$(CURDIR)/$(PYTHON_ENV):$$PATH" egs/digits/run.sh --demo

test: setup ## run the tests that take seconds
	$(PYTEST) -m "not slow"

test-all: setup ## run every test
	$(PYTEST)

test-minimum: setup ## run the quick tests with the lowest versions allowed (TESTS=tests/audio: these alone)
	tools/minimum.sh $(TESTS)

gpu: ## laws, a training step and figures on an NVIDIA GPU; the first of .venv and python3 that is there runs it
	@$(firstword $(wildcard $(PYTHON_ENV)/python) python3) tools/gpu.py

lint: setup ## check style, the direction of imports and types
	$(PYTHON_ENV)/ruff check
	$(PYTHON_ENV)/ruff format --check
	$(PYTHON_ENV)/lint-imports
	$(PYTHON_ENV)/mypy

format: setup ## mend what can be mended by itself
	$(PYTHON_ENV)/ruff check --fix
	$(PYTHON_ENV)/ruff format

docs: setup ## build the documentation into docs/_build/html; a broken link or a warning is an error
	$(PYTHON_ENV)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs docs/_build/html

constraints: ## pin the development dependencies anew (UPGRADE=--upgrade moves them on)
	UV_PYTHON_DOWNLOADS=never $(or $(wildcard $(PYTHON_ENV)/uv),uv) pip compile --quiet --no-cache --universal $(UPGRADE) \
	  --python-version 3.10 --extra dev --no-annotate --no-emit-index-url --custom-compile-command "make constraints" \
	  --output-file tools/constraints.txt pyproject.toml tools/constraints.in

clean: ## remove .venv, caches and builds; data and experiments stay
	rm -rf .venv .cache .pytest_cache .ruff_cache .import_linter_cache build dist docs/_build *.egg-info
	find audiorec kernels tests -name __pycache__ -type d -prune -exec rm -rf {} +
	find kernels/cmake -mindepth 1 ! -name CMakeLists.txt -delete
	rm -rf kernels/audiorec_kernels/lib
