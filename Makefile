# `make run` and `make test` are all that a fresh machine needs. `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/sh

VENV := .venv
PYTHON := $(VENV)/bin/python
MACNET := $(CURDIR)/$(VENV)/bin/macnet
READY := $(VENV)/.ready
LAB := $(PYTHON) -m tests.lab
LAB_IMAGE := macnet-lab/base:forky
TEST_LAB := $(or $(MACNET_LAB_NAME),macnet-e2e)
SYSTEM := $(shell uname -s)

# Debian suites: their docker.io is 20.10.24, 26.1.5 and 28.5.2, their openvpn 2.6.14 and 2.7.8.
# "host" is the suite of this machine: bookworm, where the matrix was made.
ENGINES := host trixie forky
CLIENTS := host forky
MAIN_TESTS := $(addprefix tests/e2e/test_,reach.py setup.py regenerate.py heal.py down.py)

.PHONY: help run run-Darwin run-Linux down down-Darwin down-Linux \
	test test-unit test-e2e test-matrix test-mac bench bench-sweep soak lint format docs pictures lab test-lab clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

run: run-$(SYSTEM) ## reach containers: on a Mac those of your engine, on Linux those of a lab

run-Darwin: $(READY)
	$(MACNET) setup
	$(MACNET) check

run-Linux: lab
	$(LAB) up
	$(LAB) run $(MACNET) setup --base-image $(LAB_IMAGE)
	$(LAB) run $(MACNET) check
	$(LAB) run redis-cli -h 172.82.0.100 ping
	@echo "Redis in its container has answered (PONG). To look around, put a command after:"
	@echo "  $(LAB) run      (such as: $(MACNET) networks)"
	@echo "\`make down\` takes all of it away."

down: down-$(SYSTEM) ## undo `make run`

down-Darwin: $(READY)
	$(MACNET) down --purge

down-Linux: $(READY)
	$(LAB) down

test: lint test-lab ## everything: lint, unit and end-to-end tests in the lab (Linux, root)
	$(PYTHON) -m pytest

test-unit: $(READY) ## the tests that run anywhere, in seconds
	$(PYTHON) -m pytest tests/unit

test-e2e: test-lab ## the end-to-end tests alone
	$(PYTHON) -m pytest tests/e2e

test-matrix: lab ## the main end-to-end tests on every engine and client version
	@for engine in $(ENGINES); do for client in $(CLIENTS); do \
		echo "== engine $$engine, client $$client"; \
		MACNET_LAB_NAME=macnet-matrix MACNET_LAB_ENGINE=$$engine MACNET_LAB_CLIENT=$$client \
			$(PYTHON) -m pytest $(MAIN_TESTS) || exit 1; \
	done; done

test-mac: $(READY) ## on a Mac: what no other machine can verify, with a report
	$(PYTHON) -m tests.mac

bench: lab ## measure against the classic recipe, on a quiet machine
	$(PYTHON) -m benchmarks run
	$(PYTHON) -m benchmarks tool
	$(PYTHON) -m benchmarks readers

bench-sweep: lab ## try what the defaults could be
	$(PYTHON) -m benchmarks sweep

soak: lab ## eight streams for ten minutes: nothing stalls, nothing leaks
	$(PYTHON) -m benchmarks soak

lint: $(READY) ## style, types, layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo

format: $(READY) ## put the code into its form
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: $(READY) ## write the generated parts of docs/ anew
	$(PYTHON) docs/generate.py

pictures: lab ## make the README's pictures from a run in a lab (needs tmux)
	$(PYTHON) docs/pictures.py

# Both say which right or program is missing, and fail, where a lab cannot be.
lab: $(READY)
	$(LAB) install

# Up before the tests begin: what it makes the first time takes minutes, a test's time does not.
test-lab: $(READY)
	$(LAB) install --browser
	$(LAB) --name $(TEST_LAB) up

clean: ## remove what make made here
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(READY): pyproject.toml .ci/venv
	.ci/venv $(VENV)
	$(PYTHON) -m pip install --quiet --editable '.[test,lint]'
	@touch $@
