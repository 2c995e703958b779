#!/usr/bin/env python3
"""Fetches the chat templates and the JSON Schema cases that tests go through into the cache, and prints their folder.

They are llama.cpp's own collections, published in the source package of llama-cpp-python; nothing of it is built or installed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "llama-cpp-python==0.3.36"
SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
FOLDER = "/vendor/llama.cpp/models/templates/"
SCHEMAS = "/vendor/llama.cpp/tests/test-json-schema-to-grammar.cpp"


def cases_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "realm" / "llama-cases-0.3.36"


def download(work: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(work), PACKAGE]
    subprocess.run(command, check=True, stdout=sys.stderr)
    package = next(work.glob("*.tar.gz"))
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{package.name} has SHA-256 {digest}, expected {SHA256}")
    return package


def extract(package: Path, target: Path) -> None:
    target.mkdir()
    with tarfile.open(package) as archive:
        for member in archive:
            wanted = FOLDER in member.name and member.name.endswith(".jinja")
            if wanted or member.name.endswith(SCHEMAS):
                (target / Path(member.name).name).write_bytes(archive.extractfile(member).read())


def main() -> None:
    folder = cases_folder()
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        print("fetching chat templates and schemas (77 MB, once)", file=sys.stderr)
        work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".fetch-"))
        try:
            extract(download(work), work / "templates")
            (work / "templates").rename(folder)
        finally:
            shutil.rmtree(work)
    print(folder)


if __name__ == "__main__":
    main()
