# hitless: `make help` lists the targets.
SHELL       := /bin/bash
# The system's Python, because the distribution's Mininet is built for it.
SYSTEM_PYTHON ?= /usr/bin/python3
VENV        := .venv
PYTHON      := $(VENV)/bin/python
STAMP       := $(VENV)/.installed
TEST_STAMP  := $(VENV)/.tests-installed
WASM_STAMP  := $(VENV)/.wasm-host-built
SHELL_VENV  := .venv-shell
FINSY_VENV  := .venv-finsy
CODE        := hitless controller greengrass_agent softswitch/src topologies experiments apps p4src tests
# Without sudo, what needs root says so itself.
SUDO        := $(if $(filter 0,$(shell id -u)),,$(if $(shell command -v sudo),sudo --preserve-env=PATH))

TARGET   ?= softswitch
FABRIC   ?= topologies/pair.yaml
APPS     ?= apps
MODE     ?= all
STEERING ?= on
DISTURB  ?= cpu
DURATION ?= 60
RATE     ?=
SEED     ?= 1
NAME     ?= policies
APP_FOLDERS := $(foreach folder,$(APPS),--apps $(folder))
# Tests that bring up the whole system, of which a machine has one, run one after another with the machine to themselves.
# The others wait more than they work: two at a time, by file.
ON_THE_FABRIC := tests/integration tests/docs/test_commands.py tests/faults/test_chaos.py
THE_OTHERS    := --numprocesses 2 --dist loadfile $(foreach path,$(ON_THE_FABRIC),--ignore $(path))

# Distribution packages of compilers for WebAssembly: C, and Rust.
WASM_TOOLS := clang lld wasi-libc libclang-rt-dev-wasm32 rustc libstd-rust-dev-wasm32

# Distribution packages of what an experiment compares with.
PEERS_OF_migration := haproxy libnftables1
PEERS_OF_congestion := haproxy nginx
PEERS_OF_connections := haproxy caddy

# What other people's programs are built and run with.
HARNESS_PACKAGES := golang-go golang-google-grpc-dev golang-google-genproto-dev golang-google-protobuf-dev \
  golang-github-sirupsen-logrus-dev iperf telnet thrift-compiler

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'
	@echo "  knobs of make run: TARGET=softswitch|bmv2 FABRIC=file APPS='folder ...'"
	@echo "                     MODE=all|in-network|reconfiguration|both STEERING=on|off"
	@echo "                     DISTURB=cpu|none DURATION=seconds RATE=frames/s SEED=number"
	@echo "  knobs of make up:  TARGET FABRIC APPS"
	@echo "  knobs of make experiment: NAME=policies|detection|migration|congestion|connections|failures TARGET SEED ARGS=\"its other options\""
	@echo "  knobs of make chaos: MINUTES=5 or COUNT=faults, SEED KINDS=update,kill-worker,... WRK=1 TARGET FABRIC=file"

.PHONY: setup
setup: ready $(TEST_STAMP) wasm-tools ## install what is missing (distribution packages, a venv); the other targets call it
	@$(if $(filter setup,$(MAKECMDGOALS)),echo "setup: all is there")

# What runs the system, without what tests it.
.PHONY: ready
ready: $(STAMP) $(WASM_STAMP)
	@topologies/install.sh

# The native host of functions in WebAssembly, on the engine that the environment has.
$(WASM_STAMP): $(STAMP) $(wildcard hitless/wasm/*.py hitless/wasm/host/*)
	@$(PYTHON) -m hitless.wasm.build
	@touch $@

$(STAMP): pyproject.toml softswitch/pyproject.toml topologies/install.sh topologies/environment.py
	@topologies/install.sh
	@$(SYSTEM_PYTHON) topologies/environment.py $(VENV) --compile \
	  --group apps --group experiments --editable . --editable softswitch
	@touch $@

$(TEST_STAMP): $(STAMP)
	@$(SYSTEM_PYTHON) topologies/environment.py $(VENV) --group test
	@touch $@

# What builds the functions in WebAssembly that `hitless new` makes.
.PHONY: wasm-tools
wasm-tools:
	@topologies/install.sh $(WASM_TOOLS)

.PHONY: run
run: ready ## move a function between two edge nodes, live, and measure it
	@$(SUDO) $(PYTHON) -m experiments run --fabric $(FABRIC) $(APP_FOLDERS) --target $(TARGET) --mode $(MODE) \
	  --steering $(STEERING) --disturb $(DISTURB) --duration $(DURATION) $(if $(RATE),--rate $(RATE)) --seed $(SEED)

.PHONY: experiment
experiment: ready ## compare the steering policies (a quarter of an hour); NAME=detection: how soon a busy node is noticed; NAME=migration: each way to move a service; NAME=congestion: what requests feel, beside HAProxy and nginx; NAME=connections: what becomes of open ones, beside HAProxy and Caddy; NAME=failures: what failures cost
	@topologies/install.sh $(PEERS_OF_$(NAME))
	@$(SUDO) $(PYTHON) -m experiments $(NAME) --target $(TARGET) --seed $(SEED) $(ARGS)

.PHONY: bench
bench: ready ## softswitch beside BMv2, a null forwarder and a bridge, a node's gateway beside a bare HTTP server (ten minutes)
	@$(SUDO) $(PYTHON) -m experiments bench $(ARGS)
	@$(SUDO) $(PYTHON) -m experiments idle

.PHONY: chaos
chaos: ready ## kills, freezes, full disks, updates, hostile clients at random under load: was a request lost? (MINUTES=5)
	@$(SUDO) $(PYTHON) -m experiments chaos $(if $(COUNT),--count $(COUNT)) $(if $(KINDS),--kinds "$(KINDS)") \
	  $(if $(WRK),--wrk) $(if $(filter file,$(origin FABRIC)),,--fabric $(FABRIC)) $(ARGS) \
	  --target $(TARGET) --minutes $(or $(MINUTES),5) --seed $(SEED)

.PHONY: test
test: setup $(SHELL_VENV)/.installed ## run the tests on every target present
ifdef ARGS
	@$(SUDO) $(PYTHON) -m pytest $(ARGS)
else
	@failed=0; $(SUDO) $(PYTHON) -m pytest $(ON_THE_FABRIC) || failed=1; \
	$(SUDO) $(PYTHON) -m pytest $(THE_OTHERS) || failed=1; exit $$failed
endif

.PHONY: fuzz
fuzz: setup ## the state machine for MINUTES=10 on each target, a million damaged and forged frames and hostile datagrams, ten thousand hostile connections, damaged requests and documents, programs at random, what abuse of the control plane costs others
	@$(SUDO) MINUTES=$(or $(MINUTES),10) REQUESTS=1000 DOCUMENTS=20000 FRAMES=1000000 FORGERIES=1000000 INTRUDERS=1000000 FLOOD=1310720 HOSTILE=1000000 CONNECTIONS=1000 \
	  $(PYTHON) -m pytest tests/model tests/fuzz tests/controller_app/test_api_fuzz.py \
	  tests/faults/test_udp_hostile.py tests/faults/test_http_hostile.py \
	  tests/packet/test_forged.py tests/packet/test_intruders.py tests/packet/test_flood_store.py \
	  tests/softswitch/native/test_generated.py tests/softswitch/native/test_damaged_json.py \
	  tests/softswitch/native/test_sanitized.py tests/softswitch/p4runtime/test_damaged.py $(ARGS)
	@$(PYTHON) -m tests.softswitch.abuse

.PHONY: stf
stf: setup ## play p4c's sample programs with their packets (P4C=checkout of its sources; needs p4c)
	@$(PYTHON) -m tests.stf $(P4C) $(ARGS)

.PHONY: mutate
mutate: setup ## take each guard out of the steering program and see what fails (needs p4c; MINUTES=60)
	@$(PYTHON) -m tests.mutation --minutes $(or $(MINUTES),60)

.PHONY: lint
lint: setup ## ruff, mypy --strict, import rules, shellcheck
	@$(VENV)/bin/ruff check $(CODE)
	@$(VENV)/bin/ruff format --check $(CODE)
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-cache
	@shellcheck .ci/run $$(git ls-files '*.sh')

.PHONY: p4
p4: setup ## recompile the steering program (needs p4c)
	@$(PYTHON) -m p4src.build

.PHONY: words
words: setup ## write what other code knows of the steering program from its sources (part of make p4)
	@$(PYTHON) -m p4src.words

.PHONY: docs
docs: setup ## write docs/fabric.md from the fabric file's schema
	@$(PYTHON) -m controller.fabric.document

.PHONY: up
up: ready ## leave the fabric up until Ctrl-C, to use the CLI, curl and wrk on it
	@$(SUDO) $(PYTHON) -m topologies up --fabric $(FABRIC) $(APP_FOLDERS) --target $(TARGET)

.PHONY: shell
shell: ready $(SHELL_VENV)/.installed ## p4runtime-shell against the running switch
	@$(SUDO) $(PYTHON) -m topologies shell --fabric $(FABRIC) --python $(SHELL_VENV)/bin/python

# The shell, and what else cannot share protobuf with finsy.
$(SHELL_VENV)/.installed: pyproject.toml topologies/environment.py
	@$(SYSTEM_PYTHON) topologies/environment.py $(SHELL_VENV) --group shell --group clients
	@touch $@

$(FINSY_VENV)/.installed: pyproject.toml topologies/environment.py
	@$(SYSTEM_PYTHON) topologies/environment.py $(FINSY_VENV) --group finsy-tests
	@touch $@

.PHONY: harness
harness: ready $(SHELL_VENV)/.installed $(FINSY_VENV)/.installed ## other people's P4Runtime programs, unchanged, against softswitch (GIT=mirror/{owner}/{name} ARGS="ptf --target bmv2")
	@topologies/install.sh $(HARNESS_PACKAGES) || echo "harness: goes on without them" >&2
	@$(SUDO) $(PYTHON) -m tests.harness $(if $(GIT),--git '$(GIT)') $(if $(CLONES),--clones $(CLONES)) $(ARGS)

.PHONY: clean
clean: ## end leftovers of killed runs and remove caches; results stay
	@if [ -x $(PYTHON) ]; then $(SUDO) $(PYTHON) -m topologies clean; fi
	@rm -rf $(VENV) $(SHELL_VENV) $(FINSY_VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis ./*.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
