#!/usr/bin/env bash
# What the guest kits for Rust and Go are built with in the tests. Silent when it is there; adds Rust's target by rustup.
set -euo pipefail

least_go=1.24

fail() {
  echo "kit_toolchains: $*" >&2
  exit 1
}

target=wasm32-wasip1
if [[ ! -d $(rustc --print sysroot)/lib/rustlib/$target ]]; then
  command -v rustup >/dev/null || fail "Rust has no target $target; install it from where rustc came, or use rustup"
  echo "kit_toolchains: adding $target"
  rustup --quiet target add "$target" || fail "rustup target add $target failed; run it by hand"
fi

go=$(go env GOVERSION 2>/dev/null | sed 's/^go//') || true
if [[ -z $go ]]; then
  fail "Go is missing; install Go $least_go or later (the distribution's golang-go, or the archive from go.dev)"
elif [[ $(printf '%s\n' "$least_go" "$go" | sort -V | head -1) != "$least_go" ]]; then
  fail "Go $go is too old, $least_go or later is needed"
fi
