# Everything a developer or CI runs. `make` alone lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup build demo test test-all-envoys lint bench fuzz fmt clean

# The file ENVOY_VERSION is the one place where the version is pinned; the environment or the command line override it.
ENVOY_VERSION ?= $(shell cat ENVOY_VERSION)
# Seconds that `make fuzz` spends on each target.
FUZZ_SECONDS ?= 60
export ENVOY_VERSION FUZZ_SECONDS

help: ## List the targets (this is the default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  ENVOY_VERSION=1.36.4    another Envoy for this run (pinned: $$(cat ENVOY_VERSION))"
	@echo "  ENVOY_BIN=/path/envoy   your own Envoy binary; nothing is downloaded"
	@echo "  WASM_TOOLCHAIN=…        default (the cargo on your PATH) or debian (Debian's packages); chosen by itself"
	@echo "  FUZZ_SECONDS=60         time per fuzz target"

setup: ## Fetch Envoy, the Wasm target and the Python SDKs used by tests, into .tools (a second run does nothing)
	@scripts/setup.sh wasm envoy envoy-oldest python

build: ## Build the filter into dist/llm_failsafe.wasm
	@scripts/setup.sh wasm
	@scripts/build.sh

demo: ## From nothing: set up, build, start Envoy before two scripted providers, show failover, an open breaker, recovery
	@scripts/setup.sh wasm envoy
	@scripts/build.sh
	cargo run -q -p integration-tests --bin demo

test: setup build lint ## Everything CI runs: set up, build, lint, all tests against real Envoy
	@scripts/test.sh
	@scripts/test-envoys.sh oldest

test-all-envoys: build ## The scenarios of streams and retries on every supported Envoy (ENVOY_SUPPORTED), which are fetched into .tools
	@scripts/setup.sh envoy-all python
	@scripts/test-envoys.sh all

lint: ## Formatting and clippy, natively and for the Wasm target; warnings are errors
	@scripts/setup.sh wasm
	@scripts/lint.sh

bench: ## Measure what the filter costs in real Envoy (docs/performance.md); BENCH_ARGS="--against other.wasm"
	@scripts/setup.sh wasm envoy
	@scripts/build.sh --count-host-calls
	@scripts/build.sh
	cargo run --profile measure -q -p integration-tests --bin bench -- $(BENCH_ARGS)

fuzz: ## Run every fuzz target for FUZZ_SECONDS (needs cargo-fuzz)
	@scripts/fuzz.sh

fmt: ## Format all code
	cargo fmt --all

clean: ## Remove what was built; .tools stays (remove it by hand to fetch everything again)
	cargo clean
	rm -rf dist
