# `make run` and `make test` are all that a fresh machine needs. `make help` lists the rest.
SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
PYTHON := $(VENV)/bin/python
READY := $(VENV)/.ready
LAB_IMAGE := macnet-lab/base:forky
SYSTEM := $(shell uname -s)

.PHONY: help run down test test-unit test-e2e lint format lab clean

help: ## show this
	@sed -n 's/^\([a-z0-9-]*\):.*## /  \1|/p' Makefile | column -t -s '|'

run: $(READY) ## reach containers: on a Mac those of your engine, on Linux those of the lab
	@if [ "$(SYSTEM)" = Darwin ]; then \
		$(VENV)/bin/macnet setup && $(VENV)/bin/macnet check; \
	else \
		$(PYTHON) -m tests.lab install && \
		$(PYTHON) -m tests.lab up && \
		$(PYTHON) -m tests.lab run $(CURDIR)/$(VENV)/bin/macnet setup --base-image $(LAB_IMAGE) && \
		$(PYTHON) -m tests.lab run $(CURDIR)/$(VENV)/bin/macnet check && \
		echo "redis-cli -h 172.82.0.100 ping says:" && \
		$(PYTHON) -m tests.lab run redis-cli -h 172.82.0.100 ping && \
		echo "Look around: $(PYTHON) -m tests.lab run COMMAND; take it down: make down"; \
	fi

down: $(READY) ## undo `make run`
	@if [ "$(SYSTEM)" = Darwin ]; then \
		$(VENV)/bin/macnet down --purge; \
	else \
		$(PYTHON) -m tests.lab down; \
	fi

test: lint lab ## everything: lint, unit and end-to-end tests in the lab (Linux, root)
	$(PYTHON) -m pytest

test-unit: $(READY) ## the tests that run anywhere, in seconds
	$(PYTHON) -m pytest tests/unit

test-e2e: lab ## the end-to-end tests alone
	$(PYTHON) -m pytest tests/e2e

lint: $(READY) ## style, types, layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo

format: $(READY) ## put the code into its form
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

lab: $(READY)
	$(PYTHON) -m tests.lab install

clean: ## remove what `make` made here
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# Debian keeps ensurepip in a package of its own, so a failed venv is tried again with it.
$(READY): pyproject.toml
	@test -x $(PYTHON) || python3 -m venv $(VENV) || { \
		rm -rf $(VENV); apt-get update && apt-get install -y python3-venv && python3 -m venv $(VENV); }
	$(PYTHON) -m pip install --quiet --editable '.[test,lint]'
	@touch $@
