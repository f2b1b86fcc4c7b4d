# Everything a developer types. `make` alone lists it. Each target fetches what it needs first (tests/lab/setup).
export PATH := $(PATH):$(if $(CARGO_HOME),$(CARGO_HOME),$(HOME)/.cargo)/bin
KERNEL ?= 6.1
export KERNEL

# Integration tests that need no kernel of the lab: all but tests/kernel, tests/compat, tests/full and tests/qemu.
plain_tests := $(patsubst tests/%.rs,--test %,$(wildcard tests/*.rs)) \
	$(foreach main,$(filter-out tests/kernel/main.rs tests/compat/main.rs tests/full/main.rs tests/qemu/main.rs,$(wildcard tests/*/main.rs)),--test $(notdir $(patsubst %/main.rs,%,$(main))))

.PHONY: help setup build test test-kernels test-full test-plain test-real demo lab bench fmt lint clean

help:
	@echo 'make demo          a director with a real nginx pool on a real IPVS kernel, servers dying and coming back'
	@echo 'make test          formatting, clippy, unit and data tests, then the real-kernel tests (KERNEL=6.1|6.12|7.2|host)'
	@echo 'make test-kernels  the same, the real-kernel tests on 6.1, 6.12 and 7.2'
	@echo 'make test-full     all that, and what takes longer: hundreds of kills and reloads, keepalived beside us, QEMU (KERNEL=...)'
	@echo 'make lab           a shell on the lab kernel (KERNEL=..., LAB_VM=qemu)'
	@echo 'make bench         measurements beside ipvsadm and keepalived, in QEMU'
	@echo 'make build         the program, optimised: target/release/ipvsd'
	@echo 'make fmt lint      format; formatting and clippy as the tests want them'
	@echo 'make setup         fetch what demo and test need, and nothing else'
	@echo 'make clean         remove everything that was built or fetched'

setup:
	@tests/lab/setup

# Linked statically, so that it starts at once and runs on every distribution (docs/adr/0007). Naming the target keeps
# the flag away from what runs during the build itself.
build: setup
	@host=$$(rustc -vV | sed -n 's/^host: //p') && \
	RUSTFLAGS="$$RUSTFLAGS -C target-feature=+crt-static" cargo build --release --bin ipvsd --target "$$host" && \
	mkdir -p target/release && ln -f "target/$$host/release/ipvsd" target/release/ipvsd

test: lint test-plain test-real

test-kernels: lint test-plain
	@KERNEL=6.1 tests/lab/suite
	@KERNEL=6.12 tests/lab/suite
	@KERNEL=7.2 tests/lab/suite
	@tests/lab/without-ipvs

test-full: test-kernels
	@tests/lab/setup package:strace package:tshark
	@tests/lab/suite --target qemu
	@tests/lab/suite --target compat --timeout 1800
	@tests/lab/suite --target full --timeout 3600

test-plain: setup
	cargo test --quiet --workspace --lib --bins $(plain_tests)
	cargo test --quiet --workspace --doc

test-real: setup
	@tests/lab/check
	@tests/lab/suite
	@tests/lab/without-ipvs

demo: setup
	@demo=$$(tests/lab/built example demo --quiet --bin ipvsd) && tests/lab/run -- "$$demo"

lab: setup
	@cargo build --quiet --bin ipvsd
	@tests/lab/run --shell

bench: build
	@tests/lab/setup qemu
	@benches/run

fmt: setup
	cargo fmt --all

lint: setup
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings

clean:
	rm -rf target
