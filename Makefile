# The few verbs that a person types. Each sets up what it needs, and says what it does.

.DEFAULT_GOAL := help
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c

cache := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/meridian
deny_version := 0.20.2
deny := $(cache)/cargo-deny-$(deny_version)/bin/cargo-deny

# Runs a build with the compiling of Vault beside it, where Vault is missing.
with_vault_ahead = local/tools/ahead & trap "kill $$! 2>/dev/null || true" EXIT; $(1); wait $$! || true

# The programs that bring up regions of this machine; each finds the other beside it.
platform_programs = for program in local-region regions; do QUICK=1 local/images/compile $$program target/platform/$$program; done

##@ See it
.PHONY: demo
demo: setup ## the main job, live: two regions on real Vaults, under load, through a whole rotation (KEEP=1 leaves it running)
	@$(call with_vault_ahead,cargo build --release -p service -p secrets-agent -p local-region -p regions)
	@target/release/local-region demo

.PHONY: platform
platform: setup ## regions of an environment, each a whole Kubernetes cluster, with this checkout's chart and programs in them (ENVIRONMENT=production, NODES=1; RELEASE=1: optimised as for a release); as root, on Linux
	@local/tools/nodes
	@$(call with_vault_ahead,$(platform_programs))
	@QUICK=$(if $(RELEASE),,1) local/tools/platform "$(or $(ENVIRONMENT),production)" "$(or $(NODES),1)" target/platform

.PHONY: platform-down
platform-down: ## take it down again, with all that is left of it
	@$(or $(wildcard target/platform/local-region),target/debug/local-region) down "$(or $(ENVIRONMENT),production)"

##@ Trust it
.PHONY: test
test: setup test-build ## every kind of test in a quarter of an hour: rust, chart, terraform and pipeline, with each one's closing lines at the end
	@MAKE='$(MAKE)' local/tools/parts 'rust pipeline' 'chart terraform'

.PHONY: test-all
test-all: setup test-build ## everything that CI checks: `make test`, and `make test-regions`
	@MAKE='$(MAKE)' local/tools/parts 'rust regions pipeline' 'chart terraform'

# Before anything runs, so that nothing waits for the compiler meanwhile.
.PHONY: test-build
test-build: setup
	@$(call with_vault_ahead,cargo build --workspace)
	@target/debug/local-region tools >/dev/null
	@local/tools/helm/path >/dev/null
	@cargo test --quiet --workspace --no-run

.PHONY: test-rust
test-rust: test-build ## the Rust programs, against the real Vault and the real API server
	@cargo test --workspace --no-fail-fast

.PHONY: test-regions
test-regions: test-build ## more of what promotions and rotations may meet, on API servers and Vaults of their own; some ten minutes
	@cargo test --workspace --no-fail-fast --test it --test rotation --test vault -- --ignored \
	    --skip complete_ --skip killed_at_any_write_converge --skip killed_at_any_write_of_its_lock --skip platform::

.PHONY: test-chart
test-chart: setup ## the chart: lint, values, manifests of every region, what must be refused, a real API server
	@k8s/tests/run

.PHONY: test-terraform
test-terraform: setup ## the modules and environments, offline against the google provider's real schema; runbooks, on real Vaults
	@$(call with_vault_ahead,cargo build --workspace)
	@target/debug/local-region tools >/dev/null
	@terraform/tests/run

.PHONY: test-pipeline
test-pipeline: setup ## the pipeline: its schema, its graph, and that each broken one is noticed
	@.circleci/tests/run

.PHONY: test-platform
test-platform: setup ## regions with nodes, and Vault as a pod of one, reached by a port-forward; as root, on Linux
	@local/tools/nodes
	@cargo build --workspace
	@cargo test --workspace --test platform -- --ignored
	@cargo test --workspace --test vault -- --ignored

.PHONY: e2e
e2e: setup ## the chart in two real regions of two nodes, under load: rollouts, drains, crashes, outages (KEEP=1 leaves them up); as root, on Linux
	@local/tools/nodes
	@cargo build --workspace
	@local/tools/platform production 2 target/debug
	@local/images/faulty production
	@code=0; cargo test --workspace --test e2e -- --ignored --test-threads=1 --nocapture --skip soak:: || code=$$?; \
	[ "$(KEEP)" = 1 ] || target/debug/local-region down production; exit $$code

.PHONY: gates
gates: setup ## 200,000 promotions of a good release over made-up noise, and as many over recorded noise, judged by the gates: at most one in a thousand may be aborted
	@cargo test --release --package regions --lib gate -- --ignored --nocapture

.PHONY: promotions
promotions: setup ## 100,000 promotions in simulation, with everything that goes wrong (SCHEDULES=100000)
	@SCHEDULES=$(or $(SCHEDULES),100000) cargo test --profile simulate --package regions --test promotions -- --ignored --nocapture

.PHONY: kills
kills: test-build ## promotions and rotations killed before and after every single write, held against the audit logs
	@cargo test --workspace --test it complete_ -- --ignored --nocapture
	@cargo test --workspace --test rotation kills:: -- --ignored --nocapture --test-threads=1

.PHONY: mutants
mutants: setup ## bugs planted in promotions and in rotations, one by one, in a copy of this tree: the simulations must notice each
	@regions/tests/promotions/mutants/run
	@regions/tests/simulation/mutants/run

.PHONY: nightly
nightly: ## what is too slow for every change: real regions, under load, for hours; as root, or with sudo that asks for no password
	@local/tools/as-root $(MAKE) --no-print-directory simulate kills test-platform e2e soak

.PHONY: rehearse
rehearse: setup ## the pipeline of .circleci/config.yml, job by job, on regions of this machine; as root, on Linux
	@.circleci/rehearse/run

.PHONY: soak
soak: setup ## 100 rotations of signing-keys and 100 of clients in two real regions under load, with each phase's time (KEEP=1 leaves them up); as root, on Linux
	@local/tools/nodes
	@cargo build --workspace
	@local/tools/platform production 2 target/debug
	@code=0; cargo test --workspace --test e2e -- --ignored --test-threads=1 --nocapture soak:: || code=$$?; \
	[ "$(KEEP)" = 1 ] || target/debug/local-region down production; exit $$code

# How many schedules, and from which seed on.
SCHEDULES ?= 100000
SEED ?= 1
.PHONY: simulate
simulate: setup ## rotations under a virtual clock while things go wrong at random, and what was met (SCHEDULES=100000, SEED=1)
	@SCHEDULES=$(SCHEDULES) SEED=$(SEED) cargo test --profile simulate --package regions --test simulation many_schedules -- --ignored --nocapture

.PHONY: lint
lint: setup lint-tree lint-claims $(deny) ## formatter, clippy with warnings as errors, rules for dependencies, the chart's manifests
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets -- -D warnings
	@cargo clippy --workspace --all-targets --features service/faults -- -D warnings
	@$(deny) --log-level error check bans licenses sources
	@k8s/tests/run --lint

.PHONY: advisories
advisories: $(deny) ## known vulnerabilities of the crates; asks the RustSec database, which needs a network
	@$(deny) --log-level error check advisories

.PHONY: lint-claims
lint-claims: setup ## each claim of SECURITY.md names a test that exists
	@.circleci/tests/run claims

$(deny): | setup
	@echo "lint: building cargo-deny $(deny_version), once; this takes about 5 minutes on 2 cores" >&2
	@cargo install --quiet --locked --root $(cache)/cargo-deny-$(deny_version) cargo-deny@$(deny_version)

# Two of the invariants in ARCHITECTURE.md.
.PHONY: lint-tree
lint-tree: setup
	@tree=$$(cargo tree --workspace --all-features --prefix none --format '{p}'); \
	if grep '^ring ' <<<"$$tree"; then \
	    echo "lint: ring is compiled; TLS and signatures are aws-lc-rs everywhere (cargo tree --invert ring)" >&2; exit 1; \
	fi
	@tree=$$(cargo tree -p service --all-features --edges normal,build --prefix none --format '{p}'); \
	if grep '^vaultrs ' <<<"$$tree"; then \
	    echo "lint: service depends on vaultrs; only the agent speaks to Vault" >&2; exit 1; \
	fi

##@ Release it
.PHONY: image
image: setup ## the three images, without a daemon, and the chart that pins them by digest
	@local/images/build

.PHONY: test-image
test-image: setup ## the images in containerd, against a real Vault by its name
	@k8s/tests/image-run

.PHONY: test-reproducible
test-reproducible: setup ## the images of this commit twice, from clones in different folders with empty caches: the same digests
	@local/images/reproduce

.PHONY: release
release: ## push images and chart, and print the release (IMAGE_REPOSITORY names where)
	@local/images/release

.PHONY: sign
sign: setup ## attest what this commit's release is made of and where it comes from, and sign it (SIGNING_KEY)
	@local/images/sign

##@ Operate it, as CircleCI's jobs do
.PHONY: promote settle rollback drain restore rotate
promote: setup ## promote this commit's release (ENVIRONMENT=qa)
settle: setup ## end what a promotion left that was killed or cancelled (ENVIRONMENT=qa)
rollback: setup ## go back to a release (ENVIRONMENT=qa TO=1.4.2)
drain: setup ## take a region out of traffic (ENVIRONMENT=qa REGION=europe-west4)
restore: setup ## let it back in (ENVIRONMENT=qa REGION=europe-west4)
rotate: setup ## rotate a secret in every region (ENVIRONMENT=qa SECRET=signing-keys)
promote settle rollback drain restore rotate:
	@[ -n "$(REGIONS)" ] || cargo build --release -p regions
	@.circleci/bin/operate $@ "$(ENVIRONMENT)"

.PHONY: registry-login
registry-login: ## a login for the registry that ends within the hour
	@.circleci/bin/google registry

.PHONY: credentials
credentials: ## a kubeconfig without a credential in it (ENVIRONMENT=qa)
	@.circleci/bin/google kubeconfig "$(ENVIRONMENT)"

##@ Measure it
.PHONY: bench
bench: setup ## agent, service and regions, as images hold them, beside named peers and over 200 regions; writes bench/results (ONLY=agents,service,adoption,scale)
	@cargo build --release -p meridian-bench
	@local/images/compile service target/bench/service
	@local/images/compile secrets-agent target/bench/secrets-agent
	@local/images/compile regions target/bench/regions
	@local/images/compile bare-hyper target/bench/bare-hyper
	@target/release/meridian-bench --programs target/bench $(if $(ONLY),--only $(ONLY))

.PHONY: bench-promotions
bench-promotions: setup ## what promotions through qa, staging and production take for themselves, beside bakes and the start of pods; writes bench/results; as root, on Linux
	@local/tools/nodes
	@$(platform_programs)
	@local/images/compile regions target/bench/regions
	@bench/promotions

##@ Keep it
.PHONY: setup
setup: ## what the other verbs need, installed or named
	@local/tools/setup

.PHONY: clean
clean: ## remove what was built here; the cache of built tools stays
	@cargo clean

.PHONY: help
help: ## this list
	@awk 'BEGIN { FS = ":.*## " } \
	    /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	    /^[a-z0-9-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
