#!/usr/bin/env python3
"""Fetches the chat templates and the JSON Schema cases that tests go through into the cache, and prints their folder.

They are llama.cpp's own collections, published in the source package of llama-cpp-python; nothing of it is built or installed.
"""

import hashlib
import subprocess
import sys
import tarfile
from pathlib import Path

from cache import cache_folder, made_once

PACKAGE = "llama-cpp-python==0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
FOLDER = "/vendor/llama.cpp/models/templates/"
SCHEMAS = "/vendor/llama.cpp/tests/test-json-schema-to-grammar.cpp"


def download(work: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(work), PACKAGE]
    subprocess.run(command, check=True, stdout=sys.stderr)
    package = next(work.glob("*.tar.gz"))
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{package.name} has SHA-256 {digest}, expected {SHA256}")
    return package


def extract(package: Path, target: Path) -> Path:
    target.mkdir()
    with tarfile.open(package) as archive:
        for member in archive:
            wanted = FOLDER in member.name and member.name.endswith(".jinja")
            if wanted or member.name.endswith(SCHEMAS):
                (target / Path(member.name).name).write_bytes(archive.extractfile(member).read())
    return target


def main() -> None:
    folder = cache_folder() / "llama-cases-0.3.36"
    what = "fetching chat templates and schemas (77 MB, once)"
    print(made_once(folder, what, lambda work: extract(download(work), work / "templates")))


if __name__ == "__main__":
    main()
