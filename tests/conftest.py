"""The real binary, as a user starts it."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from server_process import Server

TIMEOUT_S = 240


def required(name: str) -> Path:
    value = os.environ.get(name)
    if not value or not Path(value).exists():
        pytest.fail(f"set {name} (`make test` does)")
    return Path(value)


class Realm:
    def __init__(self, binary: Path, model: Path):
        self.binary = binary
        self.model = model
        self.program = binary.parent / "realm.wasm"

    def run(self, *args: str, stdin: bytes | None = b"", env: dict | None = None, **options) -> subprocess.CompletedProcess:
        return subprocess.run(
            [self.binary, *map(str, args)],
            input=stdin,
            capture_output=True,
            timeout=TIMEOUT_S,
            env={**os.environ, "REALM_MODEL": str(self.model), **(env or {})},
            **options,
        )

    def answer(self, *args: str, **options) -> dict:
        done = self.run("run", "--json", *args, **options)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    def refusal(self, *args: str, code: int = 1, **options) -> str:
        """The one line that a failing command prints."""
        done = self.run(*args, **options)
        error = done.stderr.decode()
        assert done.returncode == code, f"exit code {done.returncode}: {error}"
        assert done.stdout == b""
        lines = [line for line in error.splitlines() if not line.startswith(("realm: warning:", '{"time"'))]
        assert len(lines) == 1 and lines[0].startswith("realm: "), error
        return lines[0]


@pytest.fixture(scope="session")
def realm() -> Realm:
    return Realm(required("REALM_BINARY"), required("REALM_MODEL"))


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    return required("REALM_TINY_MODEL")


@pytest.fixture
def start_server(realm, tiny_model):
    """Starts servers that are stopped when the test is over."""
    started = []

    def start(*args, model=None, **options) -> Server:
        started.append(Server(realm.binary, model or tiny_model, *args, **options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="module")
def open_server(realm):
    """A server with the small real model and no realms: no keys are needed."""
    server = Server(realm.binary, realm.model)
    yield server
    assert server.stop() == 0
