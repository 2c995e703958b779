#!/usr/bin/env bash
# Installs the system packages that the build needs (Debian 12 or a relative of it). Silent when there is nothing to do.
set -euo pipefail

packages=(
  cmake ninja-build g++ git ccache python3-venv
  clang-14 lld-14 wasi-libc libc++-14-dev-wasm32 libc++abi-14-dev-wasm32 libclang-rt-14-dev-wasm32 wabt binaryen
  libboost-json1.81-dev libcli11-dev libspdlog-dev libfmt-dev libgtest-dev libssl-dev libedit-dev
  pkg-config libseccomp-dev libcurl4-openssl-dev
)
# The tests run Node clients; any Node from elsewhere will do.
command -v npm >/dev/null || packages+=(nodejs npm)
for tool in curl jq openssl valgrind; do command -v "$tool" >/dev/null || packages+=("$tool"); done
least_rust=1.95

fail() {
  echo "bootstrap: $*" >&2
  exit 1
}

missing_packages() {
  # dpkg-query prints nothing for a package that it never heard of, hence the comparison with the whole list.
  local installed
  installed=$(dpkg-query --show --showformat '${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null |
    sed -n 's/^installed //p')
  comm -23 <(printf '%s\n' "${packages[@]}" | sort) <(sort -u <<<"$installed")
}

install_packages() {
  local as_root=()
  if ((EUID != 0)); then
    sudo -n true 2>/dev/null || fail "missing packages; run: sudo apt-get install --no-install-recommends $*"
    as_root=(sudo -n)
  fi
  echo "bootstrap: installing $*"
  "${as_root[@]}" apt-get update -q=2
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -q=2 --no-install-recommends "$@"
}

if ! command -v dpkg-query >/dev/null; then
  echo "bootstrap: not a Debian system; the build needs what these packages bring: ${packages[*]}" >&2
else
  missing=$(missing_packages)
  # Package names have no spaces, so splitting them here is what is wanted.
  # shellcheck disable=SC2086
  [[ -z $missing ]] || install_packages $missing
fi

rust=$(cargo --version 2>/dev/null | cut -d' ' -f2) || true
if [[ -z $rust ]]; then
  fail "cargo is missing: install rustup, then run: rustup toolchain install stable (Rust $least_rust or later is needed)"
elif [[ $(printf '%s\n' "$least_rust" "$rust" | sort -V | head -1) != "$least_rust" ]]; then
  fail "Rust $rust is too old, $least_rust or later is needed; run: rustup update stable"
fi
