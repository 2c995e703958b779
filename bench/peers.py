"""Servers of others that the benchmarks compare with, and what a process of any of them takes.

LLAMA_SERVER is llama-server's path (tools/build_peers.py builds one).
"""

import json
import os
import socket
import subprocess
import time
import urllib.request

CONTEXT = 512  # tokens of a slot, unless a benchmark says otherwise


class LlamaServer:
    def __init__(self, slots, threads, *args, context=CONTEXT, model=None):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        command = [os.environ["LLAMA_SERVER"], "-m", model or os.environ["REALM_MODEL"], "-np", slots, "-c", slots * context, "-t", threads,
                   "--port", self.port, *args]
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"llama-server did not start: {command}")
            time.sleep(0.1)
        props = json.load(urllib.request.urlopen(f"http://127.0.0.1:{self.port}/props", timeout=5))
        if props["total_slots"] != slots or props["default_generation_settings"]["n_ctx"] < context:
            raise SystemExit(f"llama-server has {props['total_slots']} slots of {props['default_generation_settings']['n_ctx']} tokens")

    def answers(self):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5).status == 200
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        lines = {line.split(":")[0]: int(line.split()[1]) for line in file if line.rstrip().endswith("kB")}
    return lines["Rss"], lines["Private_Clean"] + lines["Private_Dirty"]
