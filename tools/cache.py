"""Where the tools keep what is fetched or made once, outside of the checkout."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "realm"


def made_once(folder: Path, what: str, make: Callable[[Path], Path]) -> Path:
    """The folder. When it is not there, `make` gets an empty one to work in and returns the part of it that becomes the folder."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        print(what, file=sys.stderr)
        work = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".made-"))
        try:
            make(work).rename(folder)
        finally:
            shutil.rmtree(work)
    return folder
