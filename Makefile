# adwarm: `make demo` and `make test` need only python3 (3.11 or newer) and make; they set up .venv by themselves.
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
INTEROP := .adwarm/interop
WORKERS := 2
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONPATH := $(CURDIR)/include:$(CURDIR)/plugins:$(CURDIR)/clients/python
export PYTHONDONTWRITEBYTECODE :=
export ADWARM_HOME := $(CURDIR)/.adwarm

.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*## .*/\1/p' Makefile)

SHOWN := setup|demo|up|down|test|lint|format|docs

help: ## Show the targets that are used most
	@sed -nE 's/^($(SHOWN)):.*## (.*)/\1\t\2/p' Makefile | expand -t 16
	@echo "make help-all shows all targets, and make bench all benchmarks"

help-all: ## Show every target
	@sed -nE -e 's/^## (.*)/\n\1/p' -e 's/^([a-z-]+):.*## (.*)/\1\t\2/p' Makefile | expand -t 18

## Set up and try

setup: $(READY) ## Install everything into .venv, from the hash-pinned locks

$(READY): requirements/bootstrap.txt requirements/dev.txt pyproject.toml clients/python/pyproject.toml
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "python3 is older than 3.11"; exit 1; }
	@test -x $(BIN)/python || python3 -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	@echo "Installing into $(VENV) ..."
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/bootstrap.txt requirements/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation \
		--editable ./clients/python --editable .
	@touch $@

# Read when the process starts; later changes have no effect.
demo: export MALLOC_ARENA_MAX := 2
demo: export ARROW_DEFAULT_MEMORY_POOL := system
demo: export MALLOC_MMAP_THRESHOLD_ := 1000000
demo: $(READY) ## Run the main job on real flights: learn, plan, warm and serve
	@$(BIN)/python -m dev.demo

up: $(READY) ## Start Airflow with the DAGs, the simulator and demo data
	@$(BIN)/python -m dev.up

down: $(READY) ## Stop all of it
	@$(BIN)/python -m dev.down

# npm writes this file when an installation is complete; installing again takes longer than building.
npm_install = test $(1)/node_modules/.package-lock.json -nt $(1)/package-lock.json \
	|| npm --prefix $(1) ci --no-progress --loglevel=error

dashboard: ## Build the example dashboard; needs Node.js and npm
	@command -v npm >/dev/null || { echo "npm is not installed: apt-get install nodejs npm"; exit 1; }
	@$(call npm_install,clients/typescript)
	@npm --prefix clients/typescript run --silent build
	@$(call npm_install,examples/dashboard)
	@npm --prefix examples/dashboard run --silent build

## Check

test: $(READY) ## Run the tests on SQLite and PostgreSQL
	@$(BIN)/pytest -q --numprocesses $(WORKERS) --no-loadscope-reorder

lint: $(READY) ## Check style, types and the layers of the product
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --config pyproject.toml

format: $(READY) ## Format the code and sort the imports
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

## More tests

# Everything that needs no browser, no Redis and no other package's environment.
ALL_TESTS := tests/unit tests/airflow tests/integration tests/faults tests/simulation tests/hostile tests/docs tests/rehearsal

test-all: $(READY) ## Run the tests, and those that take a second or more
	@HYPOTHESIS_EXAMPLES=100 $(BIN)/pytest -q --numprocesses $(WORKERS) --no-loadscope-reorder \
		-m 'not faults and not syscalls' $(ALL_TESTS)

test-slow: $(READY) ## Run only the tests that `make test` leaves out
	@$(BIN)/pytest -q --numprocesses $(WORKERS) --no-loadscope-reorder \
		-m 'slow and not faults and not syscalls'

test-times: $(READY) ## Fail tests of a second of CPU without the mark `slow`
	@$(BIN)/pytest -q --numprocesses $(WORKERS) --no-loadscope-reorder --durations 20 --seconds-allowed 1

test-dates: $(READY) ## Run what bears on dates on other dates; DATE=leap-day: one
	@$(BIN)/python -m tests.support.dates $(DATE)

test-clients: ## Check and build the TypeScript client and the dashboard
	@if ! command -v npm >/dev/null; then echo "skipped: npm is not installed (apt-get install nodejs npm)"; exit 0; fi; \
	for folder in clients/typescript examples/dashboard; do \
		{ $(call npm_install,$$folder); } && npm --prefix $$folder run --silent check || exit 1; \
	done

test-browser: $(READY) ## Drive the dashboard and the page in Chromium
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory dashboard; fi
	@$(BIN)/pytest -q tests/browser

test-wheel: $(READY) ## Install the wheel into a bare Airflow, and use it
	@$(BIN)/pytest -q tests/packaging

test-matrix: $(READY) ## The same on every version; PYTHON= and AIRFLOW= name one
	@$(BIN)/python -m tests.packaging.matrix $(if $(PYTHON),--python $(PYTHON)) $(if $(AIRFLOW),--airflow $(AIRFLOW) --no-lowest)

test-superset: $(READY) ## Keep a real Apache Superset warm; not in CI
	@$(BIN)/python -m tests.superset

test-docs: $(READY) ## Run the commands and programs of the pages
	@$(BIN)/pytest -q tests/docs

rehearse: $(READY) ## Make each incident of the runbook, compare it with its page
	@$(BIN)/pytest -q --numprocesses $(WORKERS) tests/rehearsal

test-hostile: $(READY) ## Run one batch against an upstream that misbehaves
	@$(BIN)/pytest -q tests/hostile

faults: $(READY) ## Kill, crash and cut off workers; SET=syscalls: at each call
	@$(BIN)/python -m tests.faults $(SET)

topology-test: $(READY) ## Run the services of docker-compose.yaml as processes
	@$(BIN)/python -m tests.topology

test-simulation: $(READY) ## Simulate 1,000 hours of back-pressure, check each event
	@$(BIN)/python -m tests.simulation

test-stateful: $(READY) ## Search for events that break breaker, queue or shares
	@HYPOTHESIS_PROFILE=thorough $(BIN)/pytest -q tests/simulation/stateful

test-smoke: $(READY) ## Start every benchmark on a tiny input; TARGETS="bench:storm"
	@$(BIN)/python -m tests.smoke $(TARGETS)

mutants: $(READY) ## Change rules, see that tests fail; SEED=1; writes a page
	@$(BIN)/python -m tests.mutants --seed $(or $(SEED),1)

test-interop: $(READY) $(INTEROP)/airbyte/.ready $(INTEROP)/airflow/.ready $(INTEROP)/singer/.ready ## Run other people's tools against the simulator
	@$(BIN)/pytest -q tests/interop

$(INTEROP)/%/.ready: tests/interop/requirements-%.txt | $(READY)
	@echo "Installing into $(@D) ..."
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D)
	@$(BIN)/uv pip sync --quiet --python $(@D)/bin/python --require-hashes $<
	@touch $@

## Measure

# BENCH_SIZE=tiny makes any benchmark and any set of faults a matter of seconds, whose figures say nothing; results go to
# .adwarm/tiny then. Peers that need an installation of their own are left out.
install_peers = test "$(BENCH_SIZE)" = tiny || $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes \
	-r requirements/bench.txt

bench: $(READY) ## Run the benchmark NAME=storm with ARGS="..."; else list all
	@$(if $(filter admission patterns,$(NAME)),$(install_peers))
	@$(BIN)/python -m tests.benchmarks $(NAME) $(ARGS)

sizing: $(READY) ## What an installation of ACCOUNTS=1000 KEYS=4 ADS=30 needs
	@$(BIN)/python -m dev.sizing --accounts $(or $(ACCOUNTS),1000) --keys $(or $(KEYS),4) --ads $(or $(ADS),30)

## Write and release

docs: docs-build ## Build the documentation and serve it on http://127.0.0.1:8001
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve --quiet --dev-addr 127.0.0.1:8001

docs-build: $(READY) ## Build the documentation into .adwarm/site; a warning fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --clean
	@echo "The documentation is in .adwarm/site"

screenshots: $(READY) ## Take pictures of the page over demo data; needs Chromium
	@$(BIN)/python -m dev.screenshots

# Days that a release of a package must be old before a lock takes it, so that a malicious one is found by others first.
COOL_DOWN_DAYS := 7
lock_python = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-strip-extras --python-version 3.11 \
	--no-header --no-emit-index-url --no-emit-package adwarm-client --exclude-newer "$(COOL_DOWN_DAYS) days" $(if $(UPGRADE),--upgrade)

# The beginning of requirements.txt, which its compiler does not write.
define LOCK_NOTE
# The lock of adwarm: each package that include, plugins, dags and clients/python need, with every extra, by hash.
# It is compiled. To change what adwarm needs, edit pyproject.toml and run `make lock`.
# To add a package of your own beside these folders, list it in a file of yours and install that after this one:
#   pip install --require-hashes -r requirements.txt && pip install -r yours.txt && pip check
endef
export LOCK_NOTE

lock: $(READY) ## Compile the locks; UPGRADE=1 raises pins to a week-old release
	@$(lock_python) --all-extras pyproject.toml -o requirements.txt
	@{ echo "$$LOCK_NOTE"; grep -v '^#' requirements.txt; } > requirements.new && mv requirements.new requirements.txt
	@$(lock_python) requirements.txt requirements/dev.in -o requirements/dev.txt
	@$(lock_python) -c requirements/dev.txt requirements/bench.in -o requirements/bench.txt
	@for tool in airbyte airflow singer; do \
		$(lock_python) tests/interop/requirements-$$tool.in -o tests/interop/requirements-$$tool.txt || exit 1; \
	done
	@if ! command -v npm >/dev/null; then echo "skipped the locks of the clients: npm is not installed"; exit 0; fi; \
	for folder in clients/typescript examples/dashboard; do \
		npm --prefix $$folder $(if $(UPGRADE),update,install) --package-lock-only --ignore-scripts \
			--min-release-age=$(COOL_DOWN_DAYS) --no-progress --loglevel=error || exit 1; \
	done

licences: $(READY) ## Check the licences of what is installed; writes a page
	@$(BIN)/python -m dev.licences

sbom: $(READY) ## Write the dependencies as CycloneDX JSON to dist/
	@$(BIN)/python -m dev.sbom

surface: $(READY) ## Write down every name that the deprecation policy covers
	@$(BIN)/python -m dev.public_surface

clean: ## Remove what was installed and made
	@rm -rf $(VENV) .adwarm
