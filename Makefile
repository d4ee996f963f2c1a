# Callsheet: everything that one types. `make` alone explains.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup test check demo docs bench bench-code bench-media simulate mutations

# A fresh rustup is not on the path before the next login.
export PATH := $(PATH):$(HOME)/.cargo/bin

# Builds use the versions of Cargo.lock and nothing else.
LOCKED ?= --locked
# One selection and one set of features for lints and tests, so that nothing is built twice.
WORKSPACE := --workspace --features failpoints,callsheet-engine/simulation $(LOCKED)

help:
	@echo 'make demo               caption a spoken video, with a kill -9 in the middle'
	@echo 'make demo VIDEO=path    the same with a video of yours'
	@echo 'make test               install what is missing, then format, lints and every test'
	@echo 'make check              the quick part of it: format, lints and the house rules'
	@echo 'make bench              measure everything on this disk (about 3 minutes; SECONDS=2 is quicker)'
	@echo 'make bench-code         what the code of the durable path costs: times, allocations, instructions'
	@echo 'make bench-media        the video workflows beside bare ffmpeg, and how right their results are'
	@echo 'make docs               the documentation of all crates, as HTML'
	@echo 'make simulate SEEDS=n    whole engines in virtual time, with faults; see docs/simulation.md'
	@echo 'make mutations          break each promise, see a test go red; see docs/reliability.md'
	@echo 'make setup              install what is missing, nothing else'
	@echo
	@echo 'CARGO_TARGET_DIR is honoured; only Rust, a C compiler and make have to be there.'

setup:
	@scripts/setup.sh

test:
	@scripts/setup.sh --for-tests
	cargo fmt --all --check
	cargo clippy $(WORKSPACE) --all-targets -- -D warnings
	CALLSHEET_SIM_SEEDS=$${CALLSHEET_SIM_SEEDS:-10000} cargo test $(WORKSPACE)

check:
	cargo fmt --all --check
	cargo clippy $(WORKSPACE) --all-targets -- -D warnings
	cargo test $(WORKSPACE) --test tidy

demo: setup
	cargo build $(LOCKED) --bin callsheet
	@cargo run $(LOCKED) --quiet --bin callsheet -- demo $${VIDEO:+--video "$$VIDEO"}

docs:
	RUSTDOCFLAGS='-D warnings' cargo doc $(WORKSPACE) --no-deps

SEEDS ?= 100000
FROM ?= 0
simulate:
	cargo run --release $(LOCKED) --quiet -p callsheet-engine --features simulation \
		--bin callsheet-sim -- --seeds $(SEEDS) --from $(FROM) --threads "$$(nproc)"

# Writes the measured part of docs/performance.md. The measured program is a release build.
bench:
	cargo build $(LOCKED) --release --bin callsheet
	CALLSHEET_BENCH="$$(cd "$${CARGO_TARGET_DIR:-target}" && pwd)/release/callsheet" \
		cargo test $(LOCKED) --test performance -- --ignored --nocapture

# Writes its part of docs/measurements.md. SIZE, TIMES, SCENES and ROUNDS scale it, ONLY picks a part.
bench-media:
	cargo build $(LOCKED) --release --bin callsheet
	SIZE=$${SIZE:-1280x720} TIMES=$${TIMES:-3} \
	CALLSHEET_BENCH="$$(cd "$${CARGO_TARGET_DIR:-target}" && pwd)/release/callsheet" \
		cargo test $(LOCKED) --test video -- --ignored --nocapture bench_media

# Without the command: fewer crates, built for speed.
bench-code:
	cargo bench $(LOCKED) --no-default-features --bench code
	cargo bench $(LOCKED) --no-default-features --bench code -- --instructions

# The tests with faults built in, and the one that switches them on, one after the other.
MUTATIONS := $(LOCKED) -p callsheet -p callsheet-actors -p callsheet-storage -p callsheet-engine \
	--features failpoints,mutations
mutations:
	CALLSHEET_MUTATION_BUILD='$(MUTATIONS)' cargo test $(MUTATIONS) --test mutations -- \
		--ignored --nocapture
