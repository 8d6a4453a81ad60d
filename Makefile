# The one front door. Every target first installs what it needs, into this folder and only what is
# missing, and says so where it takes long. The work is done by scripts/.

SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help dev test check serve effective deploy bench bench-auth bench-behind bench-kill key clean distclean

# The npm packages bring the Node that wrangler needs; the machine's own runs until they are there.
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)

# Wrangler neither reports usage nor looks for updates or for where this machine is, and keeps its
# files in this folder.
export WRANGLER_SEND_METRICS := false
export WRANGLER_HIDE_BANNER := true
export WRANGLER_LOG_PATH := .wrangler/logs
export WRANGLER_REGISTRY_PATH := .wrangler/registry
export CLOUDFLARE_CF_FETCH_ENABLED := false

# FIXTURE=1 serves a bundle that has the conformance suite's tools in it.
VARIANT := $(if $(filter-out 0,$(FIXTURE)),fixture,release)
DEPLOY := $(if $(filter-out 0,$(DRY_RUN)),--dry-run --outdir build/deploy)

# Where tests and the benchmark find what they drive.
HARNESS := SIGNALBOX_BUNDLE=$(CURDIR)/build/release \
	SIGNALBOX_FIXTURE_BUNDLE=$(CURDIR)/build/fixture \
	SIGNALBOX_PYTHON=$(CURDIR)/.tools/venv/bin/python \
	SIGNALBOX_BRIDGE=$(CURDIR)/.tools/bridge/bin/mcp-proxy \
	SIGNALBOX_NODE="$$(command -v node)" \
	SIGNALBOX_CHROMIUM="$$(scripts/setup chromium)"

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

dev: ## serve the dev bundle, rebuilt on change, and print how to connect (PORT)
	@scripts/bundle dev
	@exec node scripts/dev.mjs

test: ## run the whole test suite
	@scripts/setup bundler python browser
	@node --disable-warning=ExperimentalWarning --test-timeout=60000 \
		--import ./router/oauth/tests/setup.mjs --test "router/oauth/tests/*.test.ts"
	@scripts/bundle release
	@scripts/bundle fixture
	$(HARNESS) cargo test --workspace

check: ## formatting, lints, dependencies, documentation, the project's own rules
	@scripts/check

serve: ## serve the release bundle on plain workerd (PORT, STATE, SETTINGS, DEV_KEYS, DEV_USER; FIXTURE=1)
	@scripts/bundle $(VARIANT)
	@BUNDLE=build/$(VARIANT) exec scripts/serve

effective: ## print the tools that USER has at SCOPE, and why others are not there (SETTINGS, JSON=1)
	@scripts/bundle release
	@exec node scripts/effective.mjs

deploy: ## deploy to Cloudflare (DRY_RUN=1 to stop before the upload)
	@scripts/bundle release
	@node scripts/accepted.mjs
	wrangler deploy $(DEPLOY)

bench: ## measure the release and what it is held against, and print a report (BENCH_SECONDS, BENCH_BEFORE)
	@scripts/bundle release
	@scripts/bundle fixture
	@scripts/bundle peers
	cargo run --release -p tests --bin bench

bench-behind: ## measure a server behind the fence: the hop's cost, and what broken ones cost others (BENCH_SECONDS, GATEWAY)
	@scripts/bundle release
	cargo run --release -p tests --bin bench -- behind

bench-auth: ## measure what it costs to know who calls, with every kind of credential (BENCH_SECONDS)
	@scripts/bundle fixture
	cargo run --release -p tests --bin bench -- auth

bench-kill: ## measure how long what a user ends goes on, from the click to the last byte
	@scripts/bundle fixture
	cargo run --release -p tests --bin bench -- kill

key: ## print a fresh key for USER, and the line of the secret API_KEYS that lets it in
	@node scripts/key.mjs "$(USER)"

clean: ## remove what was built
	rm -rf build target .wrangler

distclean: clean ## remove what was installed too, and the local state
	rm -rf .tools node_modules .state
