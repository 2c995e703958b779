# Everyday commands over CMake's presets. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

release := $(CURDIR)/build/release
cache := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/realm
jobs ?= $(shell nproc)
CMAKE_FLAGS ?=
PROMPT ?= Write a short poem about a lighthouse keeper who befriends a whale.
# The bundled model is a very small one: cool and without repetition it does best.
RUN_FLAGS ?= --max-tokens 200 --temp 0.2 --repeat-penalty 1.1 --seed 2
fetch_model = python3 tools/fetch_model.py

# What the tests need besides the build: the small model, a tiny made one, the chat templates.
define test_data
REALM_MODEL=$$($(fetch_model))
REALM_TEMPLATES=$$(python3 tools/fetch_templates.py)
REALM_TINY_MODEL=$(CURDIR)/build/tiny.gguf
export REALM_MODEL REALM_TEMPLATES REALM_TINY_MODEL
[[ -f $$REALM_TINY_MODEL ]] || python3 tools/make_tiny_model.py --out $$REALM_TINY_MODEL
endef

define compile
cmake --preset $(1) $(CMAKE_FLAGS) --log-level=NOTICE | sed -un '/^\[/p' # progress only
cmake --build build/$(1) --parallel $(jobs) $(if $(2),--target $(2))
endef

define unit_tests
$(test_data)
export REALM_PROGRAM=$(CURDIR)/build/$(1)/realm.wasm
ctest --preset $(1)
endef

define bench_data
REALM_MODEL=$$($(fetch_model))
LLAMA_SERVER=$${LLAMA_SERVER:-$$(python3 tools/build_peers.py)}
export REALM_MODEL LLAMA_SERVER REALM_BINARY=$(release)/realm-runtime REALM_PROGRAM=$(release)/realm.wasm
endef

.PHONY: run build test isolation fuzz soak bench bench-short format asan tsan clean help bootstrap venv

run: build ## build everything, fetch a small model and ask it something (PROMPT="...")
	@model=$$($(fetch_model))
	$(release)/realm run --model "$$model" $(RUN_FLAGS) "$(PROMPT)"

build: bootstrap ## build the release into build/release
	@$(call compile,release)

test: build venv ## all tests: units, end to end, tidiness
	@tools/kit_toolchains.sh
	@$(call unit_tests,release)
	export REALM_BINARY=$(release)/realm-runtime
	$(cache)/venv/bin/python -m pytest -q -p no:cacheprovider tests
	python3 tools/tidy.py

asan: bootstrap ## unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(call compile,asan)
	$(call unit_tests,asan)

tsan: bootstrap ## tests of the threaded layers under ThreadSanitizer
	@$(call compile,tsan,realm_sandbox_test realm_engine_test realm_runtime_test realm-wasm)
	$(call unit_tests,tsan)

isolation: build venv ## the 43 hostile guests, measured, into docs/threat_model.md
	@$(test_data)
	export REALM_BINARY=$(release)/realm-runtime
	$(cache)/venv/bin/python tests/isolation/write_table.py

fuzz: build ## libFuzzer over everything that reads strangers' bytes, FUZZ_SECONDS=60 for each target (needs clang-19, libclang-rt-19-dev)
	@cmake --build build/release --parallel $(jobs) --target realm-fuzz | sed -un '/^\[/p'
	python3 tests/fuzz/run.py build/release/realm-fuzz

soak: build venv ## honest and hostile load together, SOAK_SECONDS=3600: memory and descriptors stay flat
	@$(test_data)
	export REALM_BINARY=$(release)/realm-runtime
	$(cache)/venv/bin/python tests/isolation/soak.py

bench: build venv ## run the benchmarks
	@$(bench_data)
	$(cache)/venv/bin/pip install --quiet --no-compile --disable-pip-version-check -r bench/requirements.txt
	$(cache)/venv/bin/python bench/run.py

bench-short: build ## a few workloads, ours beside llama-server, in some minutes
	@$(bench_data)
	python3 bench/run.py --short

format: ## format the C++ sources in place (needs clang-format-14)
	@git ls-files '*.h' '*.hpp' '*.cpp' | xargs clang-format-14 -i

clean: ## remove build/; what is cached outside the checkout stays
	@rm -rf build

help: ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) |
	  while IFS='|' read -r name text; do printf '  make %-9s %s\n' "$$name" "$$text"; done

bootstrap:
	@tools/bootstrap.sh

venv: bootstrap
	@if [[ -f tests/requirements.txt ]] && ! cmp -s tests/requirements.txt $(cache)/venv/requirements.txt; then
	  python3 -m venv $(cache)/venv
	  $(cache)/venv/bin/pip install --quiet --no-compile --disable-pip-version-check -r tests/requirements.txt
	  cp tests/requirements.txt $(cache)/venv/requirements.txt
	fi

.ONESHELL:
