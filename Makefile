# Everything is done by a verb of this file; `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash

# The first Python that is new enough; PYTHON=… names another.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(or $(firstword $(foreach python,python3 python3.14 python3.13 python3.12 python3.11,\
	$(shell $(python) -c '$(NEW_ENOUGH)' 2>/dev/null && echo $(python)))),python3)
BIN := .venv/bin
SERVICES := command projection notifier
PACKAGES := shared $(SERVICES:%=services/%) devstack
PYPROJECTS := $(PACKAGES:%=%/pyproject.toml)
CODE := $(PACKAGES) tests tools benchmarks samples

.PHONY: help run down test check bench faults compose-test lock

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/ready ## Run the whole system on this machine; Ctrl-C stops it (DETACH=1: return when it is ready)
	@exec $(BIN)/vinculum up --samples $(if $(DETACH),--detach)

down: .venv/ready ## Stop what `make run DETACH=1` left running; the data stays
	@$(BIN)/vinculum down

test: .venv/ready ## Run the tests, on a real Postgres and a real Kafka (ARGS='-k unlink' for some of them)
	$(BIN)/pytest -n auto --dist loadfile $(ARGS)

check: .venv/ready ## Lint, format, types, imports, generated documents, and each service on its own
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(wildcard $(CODE))
	$(BIN)/lint-imports
	$(BIN)/python tools/generate.py --check
	$(BIN)/python tools/installs_alone.py

bench: .venv/ready ## Measure the speed of each service, beside the limits of this machine
	$(BIN)/python benchmarks $(ARGS)

faults: .venv/ready ## Kill, pause and cut, for longer than `make test` does (ROUNDS=100 of each kill)
	VINCULUM_FAULT_ROUNDS=$(or $(ROUNDS),10) $(BIN)/pytest -m faults $(ARGS)

compose-test: .venv/ready ## Run the system from images, with a journey through it (needs Docker)
	$(BIN)/python tools/compose_test.py

# What is not in the resolution of dev.txt can't come into a service's.
LOCK := $(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-header --no-annotate $(foreach package,shared $(SERVICES) devstack,--no-emit-package vinculum-$(package))
lock: .venv/ready ## Pin the dependencies anew (UPGRADE=1: to their newest versions), and the jars of Kafka
	@$(LOCK) $(if $(UPGRADE),--upgrade) $(PYPROJECTS) requirements/dev.in -o requirements/dev.txt
	@$(LOCK) requirements/build.in -c requirements/dev.txt -o requirements/build.txt
	@$(LOCK) $(if $(UPGRADE),--upgrade) requirements/clients.in -o requirements/clients.txt
	@$(foreach package,$(PACKAGES),$(LOCK) $(package)/pyproject.toml -c requirements/dev.txt \
		-o requirements/$(notdir $(package)).txt &&) true
	@$(BIN)/python tools/lock_kafka.py

.venv/ready: requirements/dev.txt $(PYPROJECTS)
	@$(PYTHON) -c '$(NEW_ENOUGH)' || \
		{ echo "Python 3.11 or later is needed, and $(PYTHON) is not that. Install one, or name it: make PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@sed -n '/^uv==/,/[^\\]$$/p' requirements/dev.txt > .venv/uv.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(PACKAGES:%=-e %)
	@touch $@
