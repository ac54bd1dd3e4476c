# ganger: `make demo` shows the main job, `make test` proves it; `make help` lists the rest.
CARGO ?= cargo
PREFIX ?= /usr
DESTDIR ?=
FUZZ_SECONDS ?= 60
# Events that the pool's simulation plays in `make test`.
GANGER_SIM_EVENTS ?= 1000000
# For so long fifty clients ask at once in `make test`.
GANGER_STORM_SECONDS ?= 30

.PHONY: all build test prepare demo check fmt lint doc fuzz soak bench deb clean help

all: build

build: ## the release binary, target/release/ganger
	$(CARGO) build --release

prepare: ## the packages, interpreters, container roots and VM images that the tests need
	tests/prepare
	tests/prepare-examples

test: prepare ## everything this machine can run, real systemd included
	GANGER_SIM_EVENTS=$(GANGER_SIM_EVENTS) GANGER_STORM_SECONDS=$(GANGER_STORM_SECONDS) $(CARGO) test --workspace --no-fail-fast

demo: ## one socket, one worker a core: answered, killed, replaced, reloaded, stopped
	examples/demo.sh

check: fmt lint doc ## what needs no test run

fmt: ## fails where the source is not formatted
	$(CARGO) fmt --all --check

lint: ## clippy over all targets; a warning fails
	$(CARGO) clippy --workspace --all-targets -- -D warnings

doc: ## the crate's documentation; a warning fails
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

fuzz: ## every fuzz target for FUZZ_SECONDS each (needs cargo-fuzz; a stable toolchain will do)
	set -e; for target in $$($(CARGO) fuzz list); do \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS); done

soak: ## the long runs: many restarts and reloads in one process
	GANGER_SOAK=1 $(CARGO) test --release --workspace --no-fail-fast soak -- --nocapture --test-threads=1

bench: ## the figures, printed with what they were measured on
	$(CARGO) bench

deb: ## a Debian package in target/deb
	packaging/deb

clean: ## what was built, not what the tests keep in their cache
	$(CARGO) clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# `install` and `deb`.
-include packaging/install.mk
