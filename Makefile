# Two commands do all: `make up` runs Loom and its demo from nothing, `make test` passes the tests.
VENV ?= .venv
export LOOM_VENV := $(abspath $(VENV))
# Compiled once, not by each of the many processes of a run.
export PYTHONDONTWRITEBYTECODE :=
BIN := $(VENV)/bin

.PHONY: help up down status test test-unit test-component test-real test-browser screenshots drill fuzz \
	bench bench-followers lint format install \
	install-test install-drill install-real lock proto

help:
	@echo 'make up       install what is missing, start Loom, run the demo; LOOM_PORT_BASE=9080 moves it'
	@echo 'make down     stop Loom, leaving no process; the data stays in .loom'
	@echo 'make status   what runs, where, and what it waits for'
	@echo 'make test     install what is missing and run every check and test'
	@echo 'make test-real  an agent and the tools themselves on real packages; the tables in docs/'
	@echo 'make drill    every fault class on a scratch stack, then every guard switched off; figures in docs/'
	@echo 'make fuzz     thousands of requests, made from the description of the API, to a whole stack'
	@echo 'make bench    messages, starts, beads a second, calls, memory; beside pika, py-amqp and Celery'
	@echo 'make bench-followers  what followers of live pages and logs cost; figures in docs/'
	@echo 'make test-unit  the pure tests alone (seconds); test-component: those of one part at a time'
	@echo 'make test-browser  the pages alone, in a real browser'
	@echo 'make screenshots  the pictures of the pages in docs/screenshots, taken anew'
	@echo 'make lint     ruff, mypy and the import contract'
	@echo 'make lock     pin requirements anew from setup.cfg'
	@echo 'make proto    generate the gRPC code from proto/'

install:
	@deploy/install.sh run

install-test:
	@deploy/install.sh test

install-drill:
	@deploy/install.sh drill

install-real:
	@deploy/install.sh real

up: install
	@$(BIN)/loom up
	@$(BIN)/loom demo

down:
	@test ! -x $(BIN)/loom || $(BIN)/loom down

status:
	@$(BIN)/loom status

lint: install-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-unit: install-test
	$(BIN)/pytest -n 2 tests/unit

test-component: install-test
	$(BIN)/pytest -n 2 tests/component

test-browser: install-test
	$(BIN)/pytest -p no:randomly tests/journey/test_browser.py tests/journey/test_browser_pages.py

screenshots: install-test
	$(BIN)/pytest -p no:randomly tests/journey/screenshots.py

# Side by side, for mypy keeps one core busy while the first tests wait for servers to start.
test: install-test
	@$(MAKE) --no-print-directory --jobs=2 lint suite

# In their order, so that a run can be repeated; `pytest` alone shuffles them.
# A file's tests stay together, since they share servers; most of them wait more than they compute.
# The long ones come first, so that the short ones fill what is left at the end.
suite: install-test
	$(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder -p no:randomly

# Packages come from the registries that pip and npm are set up for; the figures that
# docs/real-projects.md shows are written here.
test-real: install-real
	$(BIN)/pytest -p no:randomly tests/real

# The same seed gives the same drill; the figures that docs/reliability.md quotes are written here.
DRILL_SEED ?= 20261122
drill: install-drill
	$(BIN)/pytest tests/drill
	LOOM_ROLLING_ROUNDS=6 $(BIN)/pytest tests/integration/test_rolling.py
	$(BIN)/loom drill --seed $(DRILL_SEED) --json >docs/drill.json.new; code=$$?; \
		mv docs/drill.json.new docs/drill.json; exit $$code
	$(BIN)/loom drill --controls --seed $(DRILL_SEED) --json >docs/drill-controls.json.new; \
		code=$$?; mv docs/drill-controls.json.new docs/drill-controls.json; exit $$code

# As many of each operation, half of them wrong on purpose; the same seed makes the same requests.
FUZZ_EXAMPLES ?= 100
fuzz: install-drill
	LOOM_FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/pytest tests/fuzz

# Under five minutes; BENCH_JSON=PATH has the figures and raw samples written there.
bench: install-test
	$(BIN)/python -m bench

bench-followers: install-test
	$(BIN)/loom bench followers --json >docs/performance-followers.json.new
	mv docs/performance-followers.json.new docs/performance-followers.json

format: install-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:
	uv pip compile -q setup.cfg --generate-hashes --no-annotate --no-header --universal \
		--python-version 3.11 -o requirements.txt
	uv pip compile -q setup.cfg --extra test -c requirements.txt --generate-hashes --no-annotate \
		--no-header --universal --python-version 3.11 -o requirements-test.txt

proto: install-test
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m loom.rpc.generate
