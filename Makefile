# Everything a person or the CI does with Demarc. `make` alone explains itself.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
PACKAGES := $(VENV)/.packages.stamp
MANIFESTS := $(wildcard pyproject.toml uv.lock server/pyproject.toml libs/*/pyproject.toml)
PYTHON_PATHS := $(wildcard server bench libs examples docs/*.py)

# uv keeps what it downloads in the home; where that may not be written, in .tools.
ifneq ($(shell [ -w "$$HOME" ] && echo yes),yes)
export UV_CACHE_DIR ?= $(CURDIR)/.tools/cache
endif

# Test processes at a time; each has a PostgreSQL of its own.
WORKERS ?= 2
NETBOX := libs/netbox_circuit_manager

.PHONY: help setup run test check lint format types contracts migration baseline bench clean reset packages user radius fno documents netbox-env netbox-test

help: ## what can be done
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\n  run honours DEMARC_HTTP_PORT (8000), DEMARC_RADIUS_AUTH_PORT (1812), DEMARC_RADIUS_ACCT_PORT (1813),\n'
	@printf '  DEMARC_DATA_DIR (.demarc) and DATABASE_URL (unset: a private PostgreSQL); test takes ARGS="-k name".\n'

setup: packages user ## install what is missing: uv, Python packages, FreeRADIUS, the service user
	@deploy/setup/freeradius.sh || true

run: setup ## run the platform with its sandbox in the foreground; Ctrl-C stops it
	@exec $(BIN)/demarc up --sandbox

test: packages user radius fno documents netbox-env ## run every test; those of the NetBox plugin beside the others
	@$(if $(ARGS),,$(NETBOX)/dev/beside.sh) $(BIN)/pytest -n $(WORKERS) --dist loadfile $(ARGS)

check: lint types contracts test ## what the CI runs: lint, types, import contracts, tests

lint: packages ## ruff: rules and formatting
	@$(BIN)/ruff check $(PYTHON_PATHS)
	@$(BIN)/ruff format --check $(PYTHON_PATHS)

format: packages ## let ruff repair and format
	@$(BIN)/ruff check --fix $(PYTHON_PATHS)
	@$(BIN)/ruff format $(PYTHON_PATHS)

types: packages ## mypy --strict
	@$(BIN)/mypy

contracts: packages ## who may import whom
	@$(BIN)/lint-imports

migration: packages ## start a new migration: make migration name="add a column"
	@test -n "$(name)" || { echo 'Say what it does: make migration name="add a column"'; exit 2; }
	@$(BIN)/demarc db revision "$(name)"

baseline: packages ## write the baseline migration from the declared tables (before the first release only)
	@$(BIN)/python server/migrations/generate_baseline.py

bench: packages user radius ## us and the other side in one run; prints ratios (minutes)
	@deploy/setup/compiler.sh
	@$(BIN)/python -m bench $(ARGS)

clean: ## remove the virtual environment and every cache; data stays
	@rm -rf $(VENV) .tools .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis bench/build $(NETBOX)/.netbox
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

reset: ## delete the data directory with its database: a fresh sandbox at the next run
	@deploy/setup/reset.sh

packages: $(PACKAGES)

# Stamped in the virtual environment: a change of a manifest, or of the machine, installs again. Compiled once here, also where
# PYTHONDONTWRITEBYTECODE is set: each process of the platform would otherwise compile for seconds.
$(PACKAGES): $(MANIFESTS)
	@uv=$$(deploy/setup/uv.sh) && env -u PYTHONDONTWRITEBYTECODE deploy/setup/again.sh "$$uv" sync --frozen --all-packages --compile-bytecode --quiet
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m compileall -q server/src libs/*/src
	@touch $@

user:
	@deploy/setup/service-user.sh

radius:
	@deploy/setup/freeradius.sh

fno: ## install what the tests of fno_portal need: Chromium, Dovecot
	@deploy/setup/fno.sh

documents: ## install what the documents' examples need: curl, Node, npm, axios
	@deploy/setup/documents.sh

netbox-env: ## a real NetBox with PostgreSQL and Redis for the tests of the plugin
	@deploy/setup/netbox.sh

netbox-test: netbox-env ## test the NetBox plugin; NETBOX_TESTS=PATH runs another suite in the same NetBox
	@$(NETBOX)/dev/test.sh $(NETBOX_TESTS)
