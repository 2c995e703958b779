#!/usr/bin/env python3
"""Builds llama.cpp's llama-server, which the benchmarks compare with, into the cache, and prints its path.

The sources are those of the source package of llama-cpp-python; the build is llama.cpp's default for this machine's own processor.
"""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

from cache import cache_folder, made_once
from fetch_templates import PACKAGE, download

SOURCES = "/vendor/llama.cpp/"
OPTIONS = ("CMAKE_BUILD_TYPE=Release", "BUILD_SHARED_LIBS=OFF", "LLAMA_CURL=OFF", "LLAMA_OPENSSL=OFF", "LLAMA_BUILD_TESTS=OFF",
           "LLAMA_BUILD_EXAMPLES=OFF")
PROGRAMS = ("llama-server",)
# GCC 12's own does not say that it reads all of the shapes, leaves out the stores of most, and the server ends at its first prompt on a
# processor with AMX.
TILE_FIX = """#pragma once
#ifdef __AMX_TILE__
#include <immintrin.h>
#define _tile_loadconfig(shapes) __asm__ volatile("ldtilecfg %0" ::"m"(*reinterpret_cast<const char(*)[64]>(shapes)))
#endif
"""


def extract(package: Path, target: Path) -> None:
    with tarfile.open(package) as archive:
        for member in archive:
            if SOURCES in member.name and member.isfile():
                file = target / member.name.split(SOURCES, 1)[1]
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(archive.extractfile(member).read())


def build(work: Path) -> Path:
    extract(download(work), work / "sources")
    (work / "tile_fix.h").write_text(TILE_FIX)
    options = (*OPTIONS, f"CMAKE_CXX_FLAGS=-include {work / 'tile_fix.h'}")
    configure = ["cmake", "-G", "Ninja", "-S", work / "sources", "-B", work / "build", *(f"-D{option}" for option in options)]
    subprocess.run([str(part) for part in configure], check=True, stdout=subprocess.DEVNULL)
    compile_all = ["cmake", "--build", str(work / "build"), "--parallel", str(os.cpu_count()), "--target", *PROGRAMS]
    subprocess.run(compile_all, check=True, stdout=sys.stderr)
    return work / "build" / "bin"


def main() -> None:
    folder = cache_folder() / "peers" / PACKAGE.replace("==", "-")
    print(made_once(folder, "building llama-server (about ten minutes on two cores, once)", build) / "llama-server")


if __name__ == "__main__":
    main()
