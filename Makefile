# `make run` and `make test` are all that a fresh machine needs. `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/sh

VENV := .venv
PYTHON := $(VENV)/bin/python
MACNET := $(CURDIR)/$(VENV)/bin/macnet
READY := $(VENV)/.ready
LAB := $(PYTHON) -m tests.lab
TEST_LAB := $(or $(MACNET_LAB_NAME),macnet-e2e)
SYSTEM := $(shell uname -s)

# Debian suites: their docker.io is 20.10.24, 26.1.5 and 28.5.2, their podman 4.3.1 and 5.8.6, their
# openvpn 2.6.14 and 2.7.8.
# "host" is the suite of this machine: bookworm, where the matrix was made.
ENGINES := host trixie forky podman-bookworm podman-forky
CLIENTS := host forky
# What carries TCP: the kernel, or pasta as on a kernel that lacks what that needs.
LANES := kernel pasta
COLUMNS := $(foreach engine,$(ENGINES),$(foreach client,$(CLIENTS),$(addprefix $(engine)/$(client)/,$(LANES))))
# How many labs at once `make test` and `make test-matrix` have.
JOBS := 2
# Files side by side, the longest first of all: the unit tests fill what is left at the end. Then
# the tests that must be alone, whatever the others said.
define side_by_side
	$(PYTHON) -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --max-worker-restart 1 \
		--durations 20 -m "not alone" $(1); \
	others=$$?; [ $$others -le 1 ] || exit $$others; \
	$(PYTHON) -m pytest --durations 10 -m alone $(1) && exit $$others
endef
MAIN_TESTS := $(addprefix tests/e2e/test_,reach.py setup.py regenerate.py heal.py down.py)
# What `--also` reaches leans on more of an engine than the rest: in one column of each other Docker engine.
column/trixie/host/pasta column/host/forky/kernel: MORE_TESTS := $(addprefix tests/e2e/test_,also.py kubernetes.py swarm.py)

.PHONY: help run run-Darwin run-Linux shell down down-Darwin down-Linux \
	test test-unit test-e2e test-matrix test-mac mutants bench bench-sweep soak lint format docs site pictures lab test-lab clean \
	$(COLUMNS:%=column/%)

help: ## show this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

run: run-$(SYSTEM) ## reach containers: on a Mac those of your engine, on Linux those of a lab

run-Darwin: $(READY)
	$(MACNET) setup
	$(MACNET) check

run-Linux: lab
	$(LAB) up
	$(LAB) run macnet setup
	$(LAB) run macnet check
	$(LAB) run redis-cli -h 172.82.0.100 ping
	@echo "Redis in its container has answered (PONG)."
	@echo "Look around: \`make shell\` opens a shell where macnet, docker, ping and curl see what a Mac sees."
	@echo "Take it away: \`make down\`."

shell: $(READY) ## open a shell in the lab that `make run` made, on the Mac's side
	$(LAB) shell

down: down-$(SYSTEM) ## undo `make run`

down-Darwin: $(READY)
	$(MACNET) down --purge

down-Linux: $(READY)
	$(LAB) down

test: lint site test-lab ## everything: lint, the site, unit and end-to-end tests (Linux, root)
	$(call side_by_side,tests)

test-unit: $(READY) ## the tests that run anywhere, in seconds
	$(PYTHON) -m pytest tests/unit

test-e2e: test-lab ## the end-to-end tests alone
	$(call side_by_side,tests/e2e)

test-matrix: lab ## the main end-to-end tests on every engine and client version
	@$(MAKE) --no-print-directory --jobs $(JOBS) --output-sync=target $(COLUMNS:%=column/%)

# Each has a lab of its own. What it says comes when it ends. Up before the tests begin, as below.
$(COLUMNS:%=column/%): column/%:
	@column=$* engine=$${column%%/*} lane=$${column##*/} client=$${column#*/} client=$${client%/*}; \
	echo "== engine $$engine, client $$client, TCP by $$lane"; \
	export MACNET_LAB_NAME=$(subst /,-,$*) MACNET_LAB_ENGINE=$$engine MACNET_LAB_CLIENT=$$client; \
	export MACNET_LAB_LANE=$$lane; \
	$(LAB) --name $$MACNET_LAB_NAME up --engine $$engine --client $$client && \
		$(PYTHON) -m pytest $(MAIN_TESTS) $(MORE_TESTS)

test-mac: $(READY) ## on a Mac: what no other machine can verify, with a report
	$(PYTHON) -m tests.mac

mutants: $(READY) ## do the unit tests notice a change? 100 places, minutes; fails below 85
	$(PYTHON) -m pip install --quiet --editable '.[test,mutants]'
	$(PYTHON) -m tests.mutants

bench: lab ## measure against the classic recipe, on a quiet machine
	$(PYTHON) -m benchmarks run
	$(PYTHON) -m benchmarks tool
	$(PYTHON) -m benchmarks readers
	$(PYTHON) -m benchmarks names

bench-sweep: lab ## try what the defaults could be
	$(PYTHON) -m benchmarks sweep

soak: lab ## eight streams for ten minutes: nothing stalls, nothing leaks
	$(PYTHON) -m benchmarks soak

lint: $(READY) ## style, types, layers, workflows
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/actionlint .github/workflows/*.yml

format: $(READY) ## put the code into its form
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: $(READY) ## write the generated parts of docs/ anew, and share/
	$(PYTHON) docs/generate.py

# Without --quiet, with which mkdocs lets dead links pass.
site: $(READY) ## the documentation as a site, in build/site; fails on a dead link
	$(PYTHON) docs/build_site.py

pictures: lab ## make the pictures of docs/ from a run in a lab (needs tmux)
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
	$(PYTHON) -m pip install --quiet --editable '.[test,lint,docs]'
	@touch $@
