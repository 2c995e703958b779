"""What the benchmarks of the server have in common: a `realm server` of its own, streamed chats, percentiles.

REALM_BINARY and REALM_MODEL as `make bench` sets them.
"""

import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor


class Server:
    def __init__(self, *args, log="warning"):
        self.lines = []
        self.data = tempfile.mkdtemp(prefix="realm-bench-")
        self.binary = os.environ["REALM_BINARY"]
        self.process = subprocess.Popen(
            [self.binary, "server", "--port", "0", "--data", self.data, "--model", os.environ["REALM_MODEL"], *args],
            stderr=subprocess.PIPE, env={**os.environ, "REALM_LOG": os.environ.get("REALM_LOG", log)}, text=True)
        for line in self.process.stderr:
            if "listening on" in line:
                self.port = int(line.split(" (")[0].rsplit(":", 1)[1])
                break
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            if '"level":"info"' not in line:
                sys.stderr.write(line)

    def logged(self, message):
        """After stop(): the log's lines with this message."""
        self.reader.join(10)
        return [line for line in map(json.loads, (each for each in self.lines if each.startswith("{"))) if line["message"] == message]

    def key(self, realm, *args):
        for command in (["realms", "create", realm, *args], ["keys", "create", realm]):
            done = subprocess.run([self.binary, *command, "--data", self.data, "--json"], capture_output=True, check=True)
        return json.loads(done.stdout)["key"]

    def metric(self, *names):
        """What these metrics add up to, over all their labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(tuple(f"{name}{{" for name in names)))

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def stream(port, key, prompt, max_tokens, stop=None, extra=None):
    """Times of the pieces of one streamed answer, from the request on; its `usage`, empty when it was cut off."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    body = {"messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens, "stream": True, "ignore_eos": True,
            "stream_options": {"include_usage": True}, **(extra or {})}
    began = time.monotonic()
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Authorization": f"Bearer {key}"})
    answer = connection.getresponse()
    times, usage = [], {}
    if answer.status == 200:
        for line in answer:
            if stop is not None and stop.is_set():
                break
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            if event.get("usage"):
                usage = event["usage"]
            if event["choices"] and event["choices"][0]["delta"].get("content"):
                times.append(time.monotonic() - began)
    connection.close()
    return times, usage


def at_once(count, work):
    """What `work` of 0 to count - 1 returns, all in threads of their own at the same time."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(work, range(count)))


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]
