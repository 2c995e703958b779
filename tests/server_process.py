"""`realm server`, started as its user would, and stopped at the end."""

import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

START_S = 60


class Server:
    def __init__(self, binary, model, *args, data=None, env=None):
        self.binary = binary
        self.data = Path(data or tempfile.mkdtemp(prefix="realm-data-"))
        self.process = subprocess.Popen(
            [binary, "server", "--port", "0", "--data", self.data, "--model", model, *map(str, args)],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, env={**os.environ, **(env or {})})
        self.lines = []
        self.ready = threading.Event()
        self.url = None
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        assert self.ready.wait(START_S) and self.url, "the server did not start:\n" + "\n".join(self.lines)

    def _read(self):
        for raw in self.process.stderr:
            line = raw.decode(errors="replace").rstrip("\n")
            self.lines.append(line)
            if found := re.search(r"listening on (https?://\S+) ", line):
                self.url = found[1]
                self.ready.set()
        self.ready.set()

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def logged(self, message: str) -> list[dict]:
        """The log's JSON lines with this message."""
        parsed = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [line for line in parsed if line["message"] == message]

    def cli(self, *args):
        """A command of the operator's, its JSON."""
        done = subprocess.run([self.binary, *args, "--data", self.data, "--json"], capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    def key(self, realm: str, *args) -> str:
        """A realm and a key for it."""
        self.cli("realms", "create", realm, *args)
        return self.cli("keys", "create", realm)["key"]

    def get(self, path: str, key: str | None = None) -> bytes:
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"Bearer {key}"} if key else {})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def metric(self, name: str, **labels) -> float:
        """Sum of the samples that have these labels."""
        total = 0.0
        for line in self.get("/metrics").decode().splitlines():
            found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if found and found[1] == name and all(f'{key}="{value}"' in (found[2] or "") for key, value in labels.items()):
                total += float(found[3])
        return total

    def wait_for(self, what, seconds=20):
        """Until what() is true."""
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline, "it did not come to that:\n" + "\n".join(self.lines[-20:])
            time.sleep(0.02)

    def stop(self, how=signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(60)
        self.reader.join(10)
        return code
